"""Which models stay."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from fashion.cli.arguments import Json, Tag
from fashion.cli.tables import in_bytes


def prune(
    keep: Annotated[int, typer.Option(min=0, help="How many models stay besides those that always do.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Remove all but the newest models, and what nothing needs any more. Live, previous and pinned ones always stay."""
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


def pin(
    tag: Tag,
    reason: Annotated[str, typer.Option(help="Kept with the pin.")] = "asked for",
) -> None:
    """Keep a model whatever 'fashion prune' is told."""
    from components.registry.retention.pins import pin

    pin(tag, reason)
    print(f"{tag} is pinned: {reason}")


def unpin(tag: Tag) -> None:
    """Let 'fashion prune' have a model again."""
    from components.registry.retention.pins import unpin

    print(f"{tag} is not pinned any more" if unpin(tag) else f"{tag} was not pinned")
