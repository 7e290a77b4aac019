"""The models of the store, and which of them is live."""

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.arguments import Json, Tag, dataset_of

if TYPE_CHECKING:
    from components.registry.champion import Move
    from components.retention.states import ModelState

MODEL_COLUMNS = ("STATE", "TAG", "ACCURACY", "PRESET", "SOURCE", "AGE", "VERDICT")
MOVE_COLUMNS = ("NUMBER", "WHEN", "WHO", "ACTION", "FROM", "", "TO", "VERDICT", "WHY")


def models(as_json: Json = False) -> None:
    """List the models of the store, oldest first: which is live, what a rollback goes back to, what was refused."""
    from components.retention.states import list_models

    listing = list_models()
    for problem in listing.problems:
        print(problem, file=sys.stderr)
    if as_json:
        print(json.dumps([_model_row(one) for one in listing.models]))
        return
    _print_table([MODEL_COLUMNS, *map(_model_line, listing.models)])


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
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "asked for",
) -> None:
    """Put the model that was live before back."""
    from components.registry.champion import rollback

    move = rollback(tag, reason)
    print(f"{move.tag} is live again, in the place of {move.previous}")


def history(as_json: Json = False) -> None:
    """Show every change of the live model, oldest first."""
    from components.registry.champion import history

    moves = history()
    if as_json:
        print(json.dumps([asdict(move) for move in moves]))
        return
    _print_table([MOVE_COLUMNS, *map(_move_line, moves)])


def prune(
    keep: Annotated[int, typer.Option(min=0, help="How many models stay besides those that always do.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Remove all but the newest models, and what nothing needs any more. Live, previous and pinned ones always stay."""
    from components.retention.prune import prune

    done = prune(keep, dry_run)
    if as_json:
        print(json.dumps({**asdict(done), "bytes": done.bytes}))
        return
    verb = "would remove" if dry_run else "removed"
    for one in done.removed:
        print(f"{verb} {one.what} {one.name}, {_in_bytes(one.bytes)}")
    for name, why in done.kept.items():
        print(f"kept {name}: {why}")
    models = sum(one.what == "model" for one in done.removed)
    counted = f"{models} {'model' if models == 1 else 'models'} and {len(done.removed) - models} other things"
    print(f"{verb} {counted}, {_in_bytes(done.bytes)}; kept {len(done.kept)}")


def pin(
    tag: Tag,
    reason: Annotated[str, typer.Option(help="Kept with the pin.")] = "asked for",
) -> None:
    """Keep a model whatever 'fashion prune' is told."""
    from components.retention.pins import pin

    pin(tag, reason)
    print(f"{tag} is pinned: {reason}")


def unpin(tag: Tag) -> None:
    """Let 'fashion prune' have a model again."""
    from components.retention.pins import unpin

    print(f"{tag} is not pinned any more" if unpin(tag) else f"{tag} was not pinned")


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


def _model_row(one: "ModelState") -> dict[str, Any]:
    card = one.card
    return {
        "tag": one.tag,
        "preset": card and card.preset,
        "source": card and card.source,
        "dataset_version": card and card.dataset_version,
        "live": one.state == "live",
        "test_accuracy": card and card.test.accuracy,
        "created_at": card and card.created_at,
        "state": one.state,
        "pinned": one.pinned,
        "verdict": one.verdict,
        "problem": one.problem,
    }


def _model_line(one: "ModelState") -> tuple[str, ...]:
    state = one.state if one.pinned is None else f"{one.state}, pinned"
    if one.card is None:
        return state, one.tag, one.problem
    card = one.card
    age = (datetime.now(UTC) - datetime.fromisoformat(card.created_at)).total_seconds()
    accuracy = f"{card.test.accuracy:.4f}"
    return state, one.tag, accuracy, card.preset, card.source, _in_words(age), one.verdict or "not judged"


def _move_line(move: "Move") -> tuple[str, ...]:
    """What a person went past is told with the reason; `fashion verdict` has the rest."""
    outcome, _, told = move.verdict.partition(": ")
    what = (str(move.number), move.when[:19], move.who, move.action, move.previous or "nothing", "->", move.tag)
    return *what, outcome or "-", told or move.why


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as they must be; the last of each row may be as long as it likes."""
    widths = [max(map(len, column)) for column in zip_longest(*(row[:-1] for row in rows), fillvalue="")]
    for row in rows:
        *cells, last = row
        print("  ".join([*(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=False)), last]))


def _in_words(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(int(seconds), 0)} s"


def _in_bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
