"""Which models are kept."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from fashion.cli.arguments import Json, Reason, Tag
from fashion.cli.tables import in_bytes


def prune(
    keep: Annotated[int, typer.Option(min=0, help="Models to keep besides the live, previous and pinned ones.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Remove old models and unreferenced files. Live, previous and pinned models are always kept."""
    from components.registry.retention.prune import prune

    done = prune(keep, dry_run)
    if as_json:
        print(json.dumps({**asdict(done), "bytes": done.bytes}))
        return
    verb = "would remove" if dry_run else "removed"
    for one in done.removed:
        print(f"{verb} {one.what} {one.name}, {in_bytes(one.bytes)}")
    for name, why in done.kept.items():
        print(f"kept {name}: {why}")
    models = sum(one.what == "model" for one in done.removed)
    counted = f"{models} {'model' if models == 1 else 'models'} and {len(done.removed) - models} other things"
    print(f"{verb} {counted}, {in_bytes(done.bytes)}; kept {len(done.kept)}")


def pin(tag: Tag, reason: Reason = "asked for", as_json: Json = False) -> None:
    """Protect a model from 'fashion prune'."""
    from components.registry.retention.pins import pin

    pin(tag, reason)
    print(json.dumps({"tag": tag, "pinned": reason}) if as_json else f"{tag} is pinned: {reason}")


def unpin(tag: Tag, as_json: Json = False) -> None:
    """Allow 'fashion prune' to remove a model again."""
    from components.registry.retention.pins import unpin

    was_pinned = unpin(tag)
    if as_json:
        print(json.dumps({"tag": tag, "was_pinned": was_pinned}))
        return
    print(f"{tag} is no longer pinned" if was_pinned else f"{tag} was not pinned")
