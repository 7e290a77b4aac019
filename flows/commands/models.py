"""The models of the store, and which of them is live."""

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.arguments import Json, Tag, dataset_of

if TYPE_CHECKING:
    from components.contract import ModelCard


def models(as_json: Json = False) -> None:
    """List the models of the store, oldest first."""
    from components.errors import NoLiveModel
    from components.registry.champion import live_move
    from components.registry.store import list_stored

    try:
        live = live_move().tag
    except NoLiveModel as error:
        live = None
        print(error, file=sys.stderr)
    stored = list_stored()
    for one in stored:
        if one.card is None:
            print(f"{one.tag}: {one.problem}", file=sys.stderr)
    rows = [_model_row(one.tag, one.card, one.tag == live) for one in stored if one.card]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        mark = "live" if row["live"] else ""
        told = f"{row['tag']}  {row['test_accuracy']:.4f}  {row['preset']}  {row['source']}  {row['created_at'][:19]}"
        print(f"{mark:4} {told}")


def promote(
    tag: Tag,
    force: Annotated[bool, typer.Option("--force", help="Past the comparison with the live model.")] = False,
    reason: Annotated[str, typer.Option(help="Kept in the history; needed with --force.")] = "",
) -> None:
    """Put a model live if the gate lets it."""
    from components.errors import PromotionRefused, SettingsError
    from components.promotion.promote import promote

    if force and not reason:
        raise SettingsError("--force needs --reason, which is kept in the history")
    promotion = promote(tag, reason or "asked for", force=force)
    if not promotion.promoted:
        raise PromotionRefused(f"{tag} was refused: {promotion}")
    print(f"{tag} is live: {promotion}")


def verdict(tag: Tag, as_json: Json = False) -> None:
    """Show what the gate and the canary said of a model last: each check, what was measured, and its bound."""
    from components.errors import ModelError
    from components.registry.store import describe_stored, read_verdict

    describe_stored(tag)
    found = read_verdict(tag)
    if found is None:
        raise ModelError(f"{tag}: it was not judged yet; 'fashion promote {tag}' does that")
    if as_json:
        print(json.dumps({"outcome": found.outcome, **asdict(found)}))
        return
    for check in found.checks:
        print(f"{'ok' if check.passed else 'FAILED':6}  {check.name:42}  {check.measured:44}  {check.bound}")
    forced = f" ({found.forced})" if found.outcome == "forced" else ""
    print(f"\n{found.outcome}{forced}: {tag} beside {found.champion or 'nothing'}, {found.when[:19]}")


def rollback(
    tag: Annotated[str | None, typer.Argument(help="An earlier live model; none: the one before.")] = None,
) -> None:
    """Put the model that was live before back."""
    from components.registry.champion import rollback

    move = rollback(tag)
    print(f"{move.tag} is live again, in the place of {move.previous}")


def history(as_json: Json = False) -> None:
    """Show every change of the live model, oldest first."""
    from components.registry.champion import history

    moves = history()
    if as_json:
        print(json.dumps([asdict(move) for move in moves]))
        return
    for move in moves:
        print(f"{move.number:4}  {move.when[:19]}  {move.who}  {move.action} {move.tag}: {move.why}")


def report(
    tag: Tag,
    beside: Annotated[str | None, typer.Option(help="Another tag: write it anew, with what changes beside it.")] = None,
) -> None:
    """Print where a model's HTML report is, written now if need be; on a desktop, open it."""
    from components.evaluation.report import report_path, write_report
    from components.registry.champion import load_model

    path = report_path(tag)
    if beside or not path.is_file():
        model = load_model(tag)
        write_report(model, dataset_of(model.card), load_model(beside) if beside else None)
    print(path)
    if sys.stdout.isatty() and os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
        typer.launch(path.as_uri())


def _model_row(tag: str, card: "ModelCard", live: bool) -> dict[str, Any]:
    return {
        "tag": tag,
        "preset": card.preset,
        "source": card.source,
        "dataset_version": card.dataset_version,
        "live": live,
        "test_accuracy": card.test.accuracy,
        "created_at": card.created_at,
    }
