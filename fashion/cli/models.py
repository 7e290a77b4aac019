"""The models of the store, and which of them is live."""

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion.cli.arguments import Json, Tag, dataset_of
from fashion.cli.tables import in_words, print_table

if TYPE_CHECKING:
    from components.contract import Verdict
    from components.model.classifier import Classifier
    from components.registry.champion import Move
    from components.registry.retention.states import ModelState

MODEL_COLUMNS = ("STATE", "TAG", "ACCURACY", "PRESET", "SOURCE", "AGE", "VERDICT")
MOVE_COLUMNS = ("NUMBER", "WHEN", "WHO", "ACTION", "FROM", "", "TO", "VERDICT", "WHY")


def models(as_json: Json = False) -> None:
    """List the models of the store, oldest first: which is live, what a rollback goes back to, what was refused."""
    from components.registry.retention.states import list_models

    listing = list_models()
    for problem in listing.problems:
        print(problem, file=sys.stderr)
    if as_json:
        print(json.dumps([_model_row(one) for one in listing.models]))
        return
    print_table([MODEL_COLUMNS, *map(_model_line, listing.models)])


def promote(
    tag: Tag,
    force: Annotated[bool, typer.Option("--force", help="Past the gate, though not past the canary.")] = False,
    reason: Annotated[str, typer.Option(help="Kept in the history; needed with --force.")] = "",
) -> None:
    """Ask the gate, serve the model once for trial, and put it live if both let it."""
    from components.errors import PromotionRefused, SettingsError
    from components.promotion.promote import promote
    from flows.notify.message import of_promotion
    from flows.notify.send import try_send

    if force and not reason:
        raise SettingsError("--force needs --reason, which is kept in the history")
    promotion = promote(tag, reason or "asked for", force=force)
    if promotion.is_news:
        try_send(of_promotion(promotion))
    if not promotion.promoted:
        raise PromotionRefused(f"{tag} was refused: {promotion}")
    print(f"{tag} is live: {promotion}")


def verdict(tag: Tag, as_json: Json = False) -> None:
    """Show what the gate and the canary said of a model last: each check, what was measured, and its bound."""
    from components.errors import ModelError
    from components.registry.store import describe_stored
    from components.registry.verdicts import encode_verdict, read_verdict

    describe_stored(tag)
    found = read_verdict(tag)
    if found is None:
        raise ModelError(f"{tag}: it was not judged yet; 'fashion promote {tag}' does that")
    if as_json:
        print(encode_verdict(found).decode(), end="")
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
    from flows.notify.message import of_rollback
    from flows.notify.send import try_send

    move = rollback(tag, reason)
    try_send(of_rollback(move))
    print(f"{move.tag} is live again, in the place of {move.previous}")


def history(as_json: Json = False) -> None:
    """Show every change of the live model, oldest first."""
    from components.registry.champion import history

    moves = history()
    _warn_of_damage()
    if as_json:
        print(json.dumps([asdict(move) for move in moves]))
        return
    print_table([MOVE_COLUMNS, *map(_move_line, moves)])


def report(
    tag: Tag,
    beside: Annotated[str | None, typer.Option(help="Another tag: write it anew, with what changes beside it.")] = None,
) -> None:
    """Print where a model's HTML report is, written now if need be; on a desktop, open it."""
    from components.errors import FashionError
    from components.evaluation.report import report_path, write_report
    from components.registry.champion import load_model
    from components.registry.retention.states import find_damage_of
    from components.registry.verdicts import read_verdict

    path, verdict = report_path(tag), read_verdict(tag)
    if beside or not _is_current(path, verdict):
        try:
            model = load_model(tag)
            rival = load_model(beside) if beside else _try_to_load(verdict.champion if verdict else None)
            write_report(model, dataset_of(model.card), rival, verdict=verdict)
        except FashionError as error:
            if beside or not path.is_file():
                raise
            print(f"the page could not be written anew: {error}", file=sys.stderr)
    elif damage := find_damage_of(tag):
        print(f"the model is damaged: {damage}; the page shows it as it was before", file=sys.stderr)
    print(path)
    if sys.stdout.isatty() and os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
        typer.launch(path.as_uri())


def impact(
    tag: Tag,
    beside: Annotated[str | None, typer.Option(help="The model whose place it would take [the live one].")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table as 'fashion score' takes it [the test split].")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For the page and the CSV [the report's].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which images would change label if a model went live: counts, a page with pictures, and a CSV."""
    from components.errors import NoLiveModel, SettingsError
    from components.promotion.impact import write_impact
    from components.registry.champion import load_model

    model = load_model(tag)
    try:
        other = load_model(beside)
    except NoLiveModel as error:
        raise NoLiveModel(f"{error}; or name another model with --beside TAG") from error
    if other.tag == model.tag:
        raise SettingsError(f"{tag} is {'live' if beside is None else 'the same model'}; --beside TAG names another")
    found = write_impact(model, other, data or dataset_of(model.card), output)
    if as_json:
        print(json.dumps(found.to_json()))
        return
    print(found)
    print(f"\n{found.page}\n{found.table}")


def _warn_of_damage() -> None:
    """Say where the live model could not be loaded again."""
    from components.registry.retention.states import find_live_damage

    if damage := find_live_damage():
        print(f"the live model is damaged: {damage}; 'fashion rollback' goes back to the one before", file=sys.stderr)


def _is_current(page: Path, verdict: "Verdict | None") -> bool:
    """Whether a report was written after the verdict and the impact that it tells of."""
    if not page.is_file():
        return False
    impact = page.with_name("impact.html")
    news = [datetime.fromisoformat(verdict.when).timestamp()] if verdict else []
    news += [impact.stat().st_mtime] if impact.is_file() else []
    return page.stat().st_mtime >= max(news, default=0)


def _try_to_load(tag: str | None) -> "Classifier | None":
    """A report without the comparison is better than none."""
    from components.errors import ModelError
    from components.registry.champion import load_model

    try:
        return load_model(tag) if tag else None
    except ModelError as error:
        print(f"the report compares with no model: {error}", file=sys.stderr)
        return None


def _model_row(one: "ModelState") -> dict[str, Any]:
    card = one.card
    return {
        "tag": one.tag,
        "preset": card and card.preset,
        "source": card and card.source,
        "dataset_version": card and card.dataset_version,
        "live": one.pointed == "live",
        "previous": one.pointed == "previous",
        "test_accuracy": card and card.test.accuracy,
        "created_at": card and card.created_at,
        "state": one.state,
        "pinned": one.pinned,
        "verdict": one.verdict,
        "problem": one.problem,
    }


def _model_line(one: "ModelState") -> tuple[str, ...]:
    words = dict.fromkeys((one.pointed, one.state, None if one.pinned is None else "pinned"))
    state, card = ", ".join(filter(None, words)), one.card
    if one.problem or card is None:
        return state, one.tag, one.problem.removeprefix(f"{one.tag}: ")
    age = (datetime.now(UTC) - datetime.fromisoformat(card.created_at)).total_seconds()
    accuracy = f"{card.test.accuracy:.4f}"
    return state, one.tag, accuracy, card.preset, card.source, in_words(age), one.verdict or "not judged"


def _move_line(move: "Move") -> tuple[str, ...]:
    """What a person went past is told with the reason; `fashion verdict` has the rest."""
    outcome, _, told = move.verdict.partition(": ")
    what = (str(move.number), move.when[:19], move.who, move.action, move.previous or "nothing", "->", move.tag)
    return *what, outcome or "-", told or move.why
