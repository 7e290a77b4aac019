"""One file of an inbox: claimed, scored, reported, and moved to `done` or `failed` with all that came of it."""

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
Outcome = Literal["done", "failed", "left"]  # left: in `working`, for the next worker


@dataclass(frozen=True)
class Terms:
    """When a file fails, as `run_job` takes it."""

    max_reject_rate: float
    check: Mode
    checker: InputChecker | None


@dataclass(frozen=True)
class Delivery:
    """What became of a file."""

    name: str
    outcome: Outcome
    folder: Path  # where it is now, with `scored.*` and `report.json`
    rows: int = 0
    rejected: int = 0
    error: str = ""

    def __str__(self) -> str:
        told = self.error or f"{self.rows:,} rows, {self.rejected:,} rejected"
        return f"{self.name}: {self.outcome}: {told} -> {self.folder}"


def deliver(
    inbox: Inbox,
    item: Path,
    live: Classifier,
    max_reject_rate: float = 1.0,
    check: Mode = "fail",
    checker: InputChecker | None = None,
) -> Delivery | None:
    """Score one item of `find_work`; an error of the item is told, not raised.

    Args:
        inbox: what `open_inbox` returned.
        item: a file, a folder, or a claim that was left behind.
        live: the model that scores it, unless another one began.
        max_reject_rate: with a larger share of rejects it fails.
        check: whether it fails where its first rows cannot be right, see `run_job`.
        checker: who looks at these, see `checking`.

    Returns:
        None where another worker has it.
    """
    try:
        with take(inbox, item) as claim:
            return None if claim is None else _score(inbox, claim, live, Terms(max_reject_rate, check, checker))
    except Exception as error:  # of the disk, or unexpected: the next worker may have more luck, and the others go on
        told = _explain(error)
        log.warning("%s: %s", shown(str(item)), told, exc_info=not isinstance(error, OSError))
        return Delivery(shown(item.name), "left", item, error=told)


def _score(inbox: Inbox, claim: Path, live: Classifier, terms: Terms) -> Delivery:
    source = dropped_in(claim)
    name = shown(source.name)
    note, model = _begin(claim, live)
    report: dict[str, Any] = {"name": name, **asdict(note)}
    try:
        refuse_unfit(source, note)
        summary = _run(source, claim, model, terms, again=note.attempts > 1)
    except FashionError as error:
        told = shown(str(error).replace(str(source), source.name)).removeprefix(f"{name}: ")
        return _finish(claim, inbox.failed, Delivery(name, "failed", claim, error=told), report)
    except Exception as error:
        if note.attempts < MAX_ATTEMPTS:
            raise
        return _finish(claim, inbox.failed, Delivery(name, "failed", claim, error=_explain(error)), report)
    count = summary.count
    told = "no row could be scored; the rejects say why" if count.rows and not count.scored else ""
    outcome: Outcome = "failed" if told else "done"
    place = inbox.failed if told else inbox.done
    delivery = Delivery(name, outcome, claim, count.rows, count.rejected, told)
    return _finish(claim, place, delivery, {**report, **_told(summary)})


def _explain(error: Exception) -> str:
    return explain(error) if isinstance(error, OSError) else shown(f"{type(error).__name__}: {error}")


def _begin(claim: Path, live: Classifier) -> tuple[ClaimNote, Classifier]:
    """Note one more attempt; the model of the first, as long as it is there."""
    note, model = read_note(claim), live
    if note and note.model != live.tag:
        try:
            model = load_model(note.model)
        except FashionError as error:
            log.warning("%s is scored anew, by %s: %s", claim.name, live.tag, error)
    return count_attempt(claim, note, model.tag), model


def _run(source: Path, claim: Path, model: Classifier, terms: Terms, again: bool) -> Summary:
    output = claim / ("scored.parquet" if source.suffix == ".parquet" else "scored.csv")
    before = look(source)
    summary = _resume(source, output, model, terms) if again else None
    summary = summary or run_job(model, source, output, **vars(terms))
    if look(source) != before:
        raise InputError(source.name, "written to while it was scored; write it under another name, then rename it")
    return summary


def _resume(source: Path, output: Path, model: Classifier, terms: Terms) -> Summary | None:
    """None where there is nothing to go on with: the job of another model, or of another version of this code."""
    try:
        return run_job(model, source, output, resume=True, **vars(terms))
    except InputError as error:
        log.warning("%s is scored from its beginning: %s", source.name, error)
        return None


def _told(summary: Summary) -> dict[str, Any]:
    """A summary, its paths as they are seen from the folder."""
    told = summary.to_json()
    return {**told, "rejects": Path(told["rejects"]).name if told["rejects"] else ""}


def _finish(claim: Path, place: Path, delivery: Delivery, report: dict[str, Any]) -> Delivery:
    """Write the report and move it all."""
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    told = {**report, "outcome": delivery.outcome, "error": delivery.error, "finished_at": finished}
    write_whole(claim / "report.json", json.dumps(told, indent=2).encode())
    claim.rename(place / claim.name)
    flush_folder(place)
    return replace(delivery, folder=place / claim.name)


def describe_failures(found: Sequence[Delivery]) -> str:
    """Which of them were not scored, in words; empty where all were."""
    failed = [delivery for delivery in found if delivery.outcome != "done"]
    told = "; ".join(f"{delivery.name}: {delivery.error}" for delivery in failed[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return f"{len(failed)} of {len(found)} could not be scored: {told}{more}" if failed else ""
