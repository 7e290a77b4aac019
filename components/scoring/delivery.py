"""Score one file of an inbox: claim it, score it, write a report, and move everything to `done` or `failed`."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from components.errors import FashionError, InputError, explain
from components.files import flush_folder, shown, write_whole
from components.inbox import (
    MAX_ATTEMPTS,
    ClaimNote,
    Inbox,
    count_attempt,
    dropped_in,
    look,
    read_note,
    refuse_unfit,
    take,
)
from components.model.classifier import Classifier
from components.registry.champion import load_model
from components.scoring.input_check import InputChecker, Mode
from components.scoring.job import Summary, run_job

log = logging.getLogger(__name__)
Outcome = Literal["done", "failed", "left"]  # left: stays in `working` for the next worker


@dataclass(frozen=True)
class FailureRules:
    """When a file fails; arguments of `run_job`."""

    max_reject_rate: float
    check: Mode
    checker: InputChecker | None


@dataclass(frozen=True)
class Delivery:
    """The result for one file."""

    name: str
    outcome: Outcome
    folder: Path  # current location, with `scored.*` and `report.json`
    rows: int = 0
    rejected: int = 0
    unknown: int = 0  # rows unlike everything that the model was trained on
    error: str = ""

    def __str__(self) -> str:
        unknown = f", {self.unknown:,} unknown" if self.unknown else ""
        result = self.error or f"{self.rows:,} rows, {self.rejected:,} rejected{unknown}"
        return f"{self.name}: {self.outcome}: {result} -> {self.folder}"


def deliver(
    inbox: Inbox,
    item: Path,
    live: Classifier,
    max_reject_rate: float = 1.0,
    check: Mode = "fail",
    checker: InputChecker | None = None,
) -> Delivery | None:
    """Score one item of `find_work`. An error of the item is returned, not raised.

    Args:
        inbox: returned by `open_inbox`.
        item: a file, a folder, or an abandoned claim.
        live: the model to score with, unless an earlier attempt used another one.
        max_reject_rate: the item fails if its share of rejected rows is larger.
        check: whether it fails if the input sanity check fails, see `run_job`.
        checker: runs the input sanity check, see `checking`.

    Returns:
        The result, or None if another worker has the item.
    """
    try:
        with take(inbox, item) as claim:
            return None if claim is None else _score(inbox, claim, live, FailureRules(max_reject_rate, check, checker))
    except Exception as error:  # from the disk, or unexpected: leave the item for a retry and continue with the others
        message = _explain(error)
        log.warning("%s: %s", shown(str(item)), message, exc_info=not isinstance(error, OSError))
        return Delivery(shown(item.name), "left", item, error=message)


def _score(inbox: Inbox, claim: Path, live: Classifier, rules: FailureRules) -> Delivery:
    source = dropped_in(claim)
    name = shown(source.name)
    note, model = _begin(claim, live)
    report: dict[str, Any] = {"name": name, **asdict(note)}
    try:
        refuse_unfit(source, note)
        summary = _run(source, claim, model, rules, is_retry=note.attempts > 1)
    except FashionError as error:
        message = shown(str(error).replace(str(source), source.name)).removeprefix(f"{name}: ")
        return _finish(claim, inbox.failed, Delivery(name, "failed", claim, error=message), report)
    except Exception as error:
        if note.attempts < MAX_ATTEMPTS:
            raise
        return _finish(claim, inbox.failed, Delivery(name, "failed", claim, error=_explain(error)), report)
    count = summary.count
    failure = "no row could be scored; the rejects say why" if count.rows and not count.scored else ""
    outcome: Outcome = "failed" if failure else "done"
    target = inbox.failed if failure else inbox.done
    delivery = Delivery(name, outcome, claim, count.rows, count.rejected, count.unknown, failure)
    return _finish(claim, target, delivery, {**report, **_to_report(summary)})


def _explain(error: Exception) -> str:
    return explain(error) if isinstance(error, OSError) else shown(f"{type(error).__name__}: {error}")


def _begin(claim: Path, live: Classifier) -> tuple[ClaimNote, Classifier]:
    """Record another attempt, and load the model of the previous one if it still exists."""
    note, model = read_note(claim), live
    if note and note.model != live.tag:
        try:
            model = load_model(note.model)
        except FashionError as error:
            log.warning("%s starts over with %s: %s", claim.name, live.tag, error)
    return count_attempt(claim, note, model.tag), model


def _run(source: Path, claim: Path, model: Classifier, rules: FailureRules, is_retry: bool) -> Summary:
    output = claim / ("scored.parquet" if source.suffix == ".parquet" else "scored.csv")
    before = look(source)
    summary = _resume(source, output, model, rules) if is_retry else None
    summary = summary or run_job(model, source, output, **vars(rules))
    if look(source) != before:
        raise InputError(source.name, "changed while it was scored; write it under another name, then rename it")
    return summary


def _resume(source: Path, output: Path, model: Classifier, rules: FailureRules) -> Summary | None:
    """Resume the job; None if it cannot be resumed: it used another model or another version of this code."""
    try:
        return run_job(model, source, output, resume=True, **vars(rules))
    except InputError as error:
        log.warning("%s starts over: %s", source.name, error)
        return None


def _to_report(summary: Summary) -> dict[str, Any]:
    """The summary with paths relative to the claim's folder."""
    values = summary.to_json()
    return {**values, "rejects": Path(values["rejects"]).name if values["rejects"] else ""}


def _finish(claim: Path, target: Path, delivery: Delivery, report: dict[str, Any]) -> Delivery:
    """Write the report and move the claim to `target`."""
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    content = {**report, "outcome": delivery.outcome, "error": delivery.error, "finished_at": finished}
    write_whole(claim / "report.json", json.dumps(content, indent=2).encode())
    claim.rename(target / claim.name)
    flush_folder(target)
    return replace(delivery, folder=target / claim.name)


def describe_failures(found: Sequence[Delivery]) -> str:
    """Describe which deliveries were not scored; "" if all were."""
    failed = [delivery for delivery in found if delivery.outcome != "done"]
    reasons = "; ".join(f"{delivery.name}: {delivery.error}" for delivery in failed[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return f"{len(failed)} of {len(found)} could not be scored: {reasons}{more}" if failed else ""
