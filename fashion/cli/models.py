"""Releasing models: what the store has, what is live, and what would change."""

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion.cli.arguments import (
    Json,
    ModelOption,
    Reason,
    Tag,
    complete_tag,
    dataset_of,
    model_option,
    resolve,
)
from fashion.cli.progress import waiting
from fashion.cli.tables import in_words, print_table

if TYPE_CHECKING:
    from components.contract import Verdict
    from components.model.classifier import Classifier
    from components.registry.champion import Move
    from components.registry.retention.states import ModelState

MODEL_COLUMNS = ("STATE", "TAG", "ACCURACY", "PRESET", "SOURCE", "AGE", "VERDICT")
MOVE_COLUMNS = ("NUMBER", "WHEN", "WHO", "ACTION", "FROM", "", "TO", "VERDICT", "WHY")


def models(as_json: Json = False) -> None:
    """List the models, newest first: which is live, which was live before, which was rejected or rolled back."""
    from components.registry.retention.states import list_models

    listing = list_models()
    for problem in listing.problems:
        print(problem, file=sys.stderr)
    rolled_back = _find_rolled_back()
    rows = sorted(listing.models, key=lambda one: one.card.created_at if one.card else "", reverse=True)
    if as_json:
        print(json.dumps([_model_row(one, rolled_back) for one in rows]))
        return
    print_table([_model_line(one, rolled_back) for one in rows], MODEL_COLUMNS)


def promote(
    tag: Tag,
    force: Annotated[bool, typer.Option("--force", help="Skip the evaluation gate. The canary still runs.")] = False,
    reason: Annotated[str, typer.Option(help="Reason, kept in the history; required with --force.")] = "",
    as_json: Json = False,
) -> None:
    """Evaluate a model against the champion, run it as a canary, and make it live if it passes both."""
    from components.errors import PromotionRefused, SettingsError
    from components.promotion.promote import promote
    from flows.notify.message import of_promotion
    from flows.notify.send import try_send

    if force and not reason:
        raise SettingsError("--force needs --reason, which is kept in the history")
    with waiting("evaluation gate and canary"):
        promotion = promote(tag, reason or "asked for", force=force)
    if promotion.is_news:
        try_send(of_promotion(promotion))
    if not promotion.promoted:
        raise PromotionRefused(
            f"{tag} was rejected: {promotion}. 'fashion verdict {tag}' lists the checks; "
            f"'fashion promote {tag} --force --reason ...' skips the gate"
        )
    if as_json:
        print(json.dumps({"tag": tag, "promoted": True, "previous": promotion.previous, "verdict": str(promotion)}))
        return
    print(f"{tag} is live: {promotion}")


def verdict(tag: Tag, as_json: Json = False) -> None:
    """Show the last verdict on a model: each check of the gate and the canary, with what was measured and its bound."""
    from components.errors import ModelError
    from components.registry.store import describe_stored
    from components.registry.verdicts import encode_verdict, read_verdict

    describe_stored(tag)
    found = read_verdict(tag)
    if found is None:
        raise ModelError(f"{tag}: not evaluated yet; run 'fashion promote {tag}'")
    if as_json:
        print(encode_verdict(found).decode(), end="")
        return
    rows = [("ok" if one.passed else "FAILED", one.name, one.measured, one.bound) for one in found.checks]
    print_table(rows, ("", "CHECK", "MEASURED", "BOUND"))
    reason = f" (promoted despite the failed checks, reason: {found.forced})" if found.outcome == "forced" else ""
    print(f"\n{found.outcome}{reason}: {tag} compared with {found.champion or 'no champion'}, {found.when[:19]} UTC")


def rollback(
    tag: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            callback=resolve,
            autocompletion=complete_tag,
            help="Model to restore [default: previous].",
        ),
    ] = None,
    reason: Reason = "asked for",
    as_json: Json = False,
) -> None:
    """Restore the model that was live before, or an earlier one."""
    from components.registry.champion import rollback
    from flows.notify.message import of_rollback
    from flows.notify.send import try_send

    move = rollback(tag, reason)
    try_send(of_rollback(move))
    if as_json:
        print(json.dumps(asdict(move)))
        return
    print(f"{move.tag} is live again; it replaces {move.previous}")


def history(as_json: Json = False) -> None:
    """List every change of the live model, oldest first."""
    from components.registry.champion import history

    moves = history()
    _warn_of_damage()
    if as_json:
        print(json.dumps([asdict(move) for move in moves]))
        return
    print_table(list(map(_move_line, moves)), MOVE_COLUMNS)


def report(
    tag: Tag,
    compare_with: Annotated[
        str | None, model_option("Model to compare with; the report is written anew [default: its champion].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the path of a model's HTML report, written now if it is missing or old; open it on a desktop."""
    from components.errors import FashionError
    from components.evaluation.report import report_path, write_report
    from components.registry.champion import load_model
    from components.registry.retention.states import find_damage_of
    from components.registry.verdicts import read_verdict

    path, verdict = report_path(tag), read_verdict(tag)
    if compare_with or not _is_current(path, verdict):
        try:
            with waiting("writing the report"):
                model = load_model(tag)
                rival = (
                    load_model(compare_with) if compare_with else _try_to_load(verdict.champion if verdict else None)
                )
                write_report(model, dataset_of(model.card), rival, verdict=verdict)
        except FashionError as error:
            if compare_with or not path.is_file():
                raise
            print(f"the report could not be updated: {error}", file=sys.stderr)
    elif damage := find_damage_of(tag):
        print(f"the model is damaged: {damage}; the report is from before", file=sys.stderr)
    print(json.dumps({"tag": tag, "report": str(path), "slices": _slices_of(path)}) if as_json else path)
    if sys.stdout.isatty() and os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
        typer.launch(path.as_uri())


def impact(
    tag: Tag,
    compare_with: ModelOption = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Table to classify, as for 'fashion score' [default: the test split]."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for the page and the CSV [default: the report's].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which images would change label if a model went live: counts, a page with pictures, and a CSV."""
    from components.errors import NoLiveModel, SettingsError
    from components.promotion.impact import write_impact
    from components.registry.champion import load_model

    model = load_model(tag)
    try:
        other = load_model(compare_with)
    except NoLiveModel as error:
        raise NoLiveModel(f"{error}; or name a model with --compare-with") from error
    if other.tag == model.tag:
        which = "the live model" if compare_with is None else "the same model"
        raise SettingsError(f"{tag} is {which}; name another with --compare-with")
    with waiting("classifying with both models"):
        found = write_impact(model, other, data or dataset_of(model.card), output)
    if as_json:
        print(json.dumps(found.to_json()))
        return
    print(found)
    print(f"\n{found.page}\n{found.table}")


def _warn_of_damage() -> None:
    """Warn if the live model could not be loaded again."""
    from components.registry.retention.states import find_live_damage

    if damage := find_live_damage():
        print(f"the live model is damaged: {damage}; 'fashion rollback' restores the previous one", file=sys.stderr)


def _is_current(page: Path, verdict: "Verdict | None") -> bool:
    """Whether a report was written after the verdict and the impact page that it links to, and with its slices."""
    if not page.is_file() or not _has_slices(page):
        return False
    impact = page.with_name("impact.html")
    news = [datetime.fromisoformat(verdict.when).timestamp()] if verdict else []
    news += [impact.stat().st_mtime] if impact.is_file() else []
    return page.stat().st_mtime >= max(news, default=0)


def _has_slices(page: Path) -> bool:
    from components.errors import ModelError
    from components.evaluation.slices_page import FILE, read_slices

    try:
        return read_slices(page.with_name(FILE)) is not None
    except ModelError:  # damaged
        return False


def _slices_of(page: Path) -> list[dict[str, Any]] | None:
    """The slices of a report; None if it was written without them and could not be updated."""
    from components.evaluation.slices_page import FILE, read_slices
    from fashion.cli.slices import slices_to_json

    found = read_slices(page.with_name(FILE))
    return slices_to_json(found.found) if found else None


def _try_to_load(tag: str | None) -> "Classifier | None":
    """A report without the comparison is better than none."""
    from components.errors import ModelError
    from components.registry.champion import load_model

    try:
        return load_model(tag) if tag else None
    except ModelError as error:
        print(f"the report has no comparison: {error}", file=sys.stderr)
        return None


def _find_rolled_back() -> set[str]:
    """The models that a rollback replaced and that did not go live again since."""
    from components.errors import ModelError
    from components.registry.champion import history

    try:
        moves = history()
    except ModelError:
        return set()  # the listing reports it
    found = set[str]()
    for move in moves:
        if move.action == "rollback" and move.previous:
            found.add(move.previous)
        found.discard(move.tag)
    return found


def _state_of(one: "ModelState", rolled_back: set[str]) -> str:
    return "rolled back" if one.state == "candidate" and one.tag in rolled_back else one.state


def _model_row(one: "ModelState", rolled_back: set[str]) -> dict[str, Any]:
    card = one.card
    return {
        "tag": one.tag,
        "preset": card and card.preset,
        "source": card and card.source,
        "dataset_version": card and card.dataset_version,
        "live": one.pointed == "live",
        "previous": one.pointed == "previous",
        "test_accuracy": card and card.test.accuracy,
        "unknown_rate": card and card.known and card.known.refused,
        "test_unknown_rate": card and card.known and card.known.test_refused,
        "created_at": card and card.created_at,
        "state": _state_of(one, rolled_back),
        "pinned": one.pinned,
        "barred": one.barred,
        "verdict": one.verdict,
        "problem": one.problem,
    }


def _model_line(one: "ModelState", rolled_back: set[str]) -> tuple[str, ...]:
    marks = (word for word, reason in (("pinned", one.pinned), ("barred", one.barred)) if reason is not None)
    words = dict.fromkeys((one.pointed, _state_of(one, rolled_back), *marks))
    state, card = ", ".join(filter(None, words)), one.card
    if one.problem or card is None:
        return state, one.tag, one.problem.removeprefix(f"{one.tag}: ")
    age = (datetime.now(UTC) - datetime.fromisoformat(card.created_at)).total_seconds()
    accuracy = f"{card.test.accuracy:.4f}"
    return state, one.tag, accuracy, card.preset, card.source, in_words(age), one.verdict or "not evaluated"


def _move_line(move: "Move") -> tuple[str, ...]:
    """A forced promotion shows which checks failed; `fashion verdict` has the rest."""
    from components.registry.champion import read_verdict_of_move

    outcome, despite = read_verdict_of_move(move.verdict)
    what = (str(move.number), move.when[:19], move.who, move.action, move.previous or "nothing", "->", move.tag)
    return *what, outcome or "-", despite or move.why
