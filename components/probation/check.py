"""Check the probation of the live model: look at its traffic when a look is due, and roll back after a breach.

A breach is recorded as a bar on the model first, with the number of the promotion. A check that is killed afterwards
leaves a barred live model, and the next check rolls it back. The rollback compares the last move under the lock of the
live model, so a person's promotion or rollback in the meantime stays.
"""

import logging
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from components.errors import LiveModelChanged, ModelError
from components.monitoring.serving_record import ServingRecord, read_serving, serving_folder
from components.probation.agreement import Agreement, choose_share, follow_shadow, read_agreement
from components.probation.evidence import AFTER_BLOCKS, MIN_BLOCKS, MINUTE, cut
from components.probation.expected import NOTHING, Expected, expect
from components.probation.judge import Measure, judge
from components.probation.settings import ProbationSettings, load_probation_settings
from components.probation.state import Probation, begin, probation_lock, read_probation, write_probation
from components.registry.bars import Bar, read_bar, write_bar
from components.registry.champion import Move, current_move, rollback
from components.registry.store import describe_stored, home

log = logging.getLogger(__name__)

DAY = 86_400.0  # seconds
BEFORE = 7 * DAY  # how far the champion's traffic goes back


@dataclass(frozen=True)
class ProbationCheck:
    """The probation of the live model, and its traffic until now."""

    probation: Probation | None  # None: nothing is on probation
    off: bool = False  # FASHION_PROBATION_MINUTES=0
    requests: int = 0  # answered since the promotion
    images: int = 0  # classified since then
    compared_with: int = 0  # requests that the champion before answered
    measures: tuple[Measure, ...] = ()
    next_look: str | None = None  # ISO 8601, UTC
    unreadable: int = 0  # damaged lines of the records
    move: Move | None = None  # the rollback of this check

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Traffic:
    """The records of a probation."""

    before: tuple[ServingRecord, ...]  # of the champion, until the promotion
    after: tuple[ServingRecord, ...]  # of the new model, since then
    since: float  # the promotion, seconds since 1970
    until: float
    unreadable: int


def check_probation(
    act: bool = True, now: float | None = None, settings: ProbationSettings | None = None
) -> ProbationCheck:
    """Judge the live model if a look is due, and roll back after a breach.

    Args:
        act: False: only measure; no look is taken, and nothing changes.
        now: seconds since 1970; None: the current time.
        settings: None: from the environment.

    Raises:
        ModelError: history or bar are damaged, or the champion before cannot be restored; the live model stays.
        PromotionRefused: there is no model to roll back to.
        SettingsError: a setting has an invalid value.
    """
    settings, now = settings or load_probation_settings(), time.time() if now is None else now
    if settings.minutes == 0:
        return ProbationCheck(None, off=True)
    with probation_lock():
        found, live = read_probation(), current_move()
        probation = _follow(found, live)
        if probation is None or live is None or probation.state != "running":
            if act and probation:
                if probation != found:
                    write_probation(probation)
                follow_shadow(probation, now)  # even if nothing changed: a check may have been killed in between
            return ProbationCheck(probation)
        bar = read_bar(live.tag)
        if bar and bar.move == live.number and act:
            ended, move = _take_back(probation, live, bar.why)
            return ProbationCheck(ended, move=move)
        return _look(probation, live, settings, now, act)


def mark_reported(probation: Probation) -> None:
    """Record that people were notified of a rollback."""
    with probation_lock():
        if read_probation() == probation:
            write_probation(replace(probation, reported=True))


def _follow(found: Probation | None, live: Move | None) -> Probation | None:
    """The probation of the live model, or the last one, ended if another move came after it."""
    if live is None or (found and found.move == live.number):
        return found
    if begun := begin(live):
        return begun
    if not found or found.state != "running":
        return found
    bar = read_bar(found.model)
    if bar and bar.move == found.move and (live.action, live.why) == ("rollback", bar.why):
        return replace(found, state="rolled back", why=bar.why)  # by a check that was killed before it wrote this
    return replace(found, state="ended", why=f"{live.action} to {live.tag} by {live.who}: {live.why}")


def _look(probation: Probation, live: Move, settings: ProbationSettings, now: float, act: bool) -> ProbationCheck:
    looks, since = settings.looks(), _to_seconds(probation.since)
    traffic = _read_traffic(probation, min(now, since + looks[-1]))
    measures = _judge(probation, traffic, settings)
    requests = sum(one.requests for one in traffic.after)
    move = None
    due = sum(since + seconds <= now for seconds in looks)
    if act:
        images = sum(one.images for one in traffic.before)
        if images:  # else nothing is judged
            share = choose_share(images, since - traffic.before[0].since, settings.minutes)
            follow_shadow(probation, since + looks[-1], share)
        breached = [one for one in measures if one.outcome == "breach"] if due > probation.looks else []
        probation = replace(probation, looks=max(due, probation.looks))
        if breached:
            why = f"probation: {'; '.join(map(str, breached))}"
            write_bar(Bar(live.tag, live.number, datetime.now(UTC).isoformat(timespec="milliseconds"), why))
            probation, move = _take_back(probation, live, why)
        else:
            probation = _conclude(probation, requests, settings)
            write_probation(probation)
            if probation.state != "running":
                follow_shadow(probation, now)
    return ProbationCheck(
        probation=probation,
        requests=requests,
        images=sum(one.images for one in traffic.after),
        compared_with=sum(one.requests for one in traffic.before),
        measures=measures,
        next_look=_find_next(looks, since, probation),
        unreadable=traffic.unreadable,
        move=move,
    )


def _take_back(probation: Probation, live: Move, why: str) -> tuple[Probation, Move | None]:
    """Roll back, unless someone changed the live model in the meantime."""
    try:
        move = rollback(probation.before, why, expected=live)
        probation = replace(probation, state="rolled back", why=why)
    except LiveModelChanged as error:
        move, probation = None, replace(probation, state="ended", why=f"{error}; found before: {why}")
    write_probation(probation)
    follow_shadow(probation, 0)
    return probation, move


def _conclude(probation: Probation, requests: int, settings: ProbationSettings) -> Probation:
    looks = settings.looks()
    enough_time = probation.looks > 0 and looks[probation.looks - 1] >= settings.minutes * 60
    if enough_time and requests >= settings.requests:
        return replace(probation, state="passed", why=f"{requests:,} requests without a breach")
    if probation.looks == len(looks):
        return replace(probation, state="too few", why=f"{requests:,} requests, expected {settings.requests:,}")
    return probation


def _read_traffic(probation: Probation, until: float) -> Traffic:
    since = _to_seconds(probation.since)
    reading = read_serving(serving_folder(home()), since - BEFORE, until)
    before = tuple(one for one in reading.records if one.model == probation.before and one.until <= since)
    after = tuple(one for one in reading.records if one.model == probation.model and one.until > since)
    return Traffic(before, after, since, until, reading.unreadable)


def _judge(probation: Probation, traffic: Traffic, settings: ProbationSettings) -> tuple[Measure, ...]:
    if not traffic.before or not traffic.after:
        return ()
    try:
        before, after = describe_stored(probation.before), describe_stored(probation.model)
        agreement = read_agreement(probation, before, after)
    except ModelError as error:  # a model was removed, or the shadow's record is damaged; the traffic still counts
        log.warning("agreement and classes are not judged: %s", error)
        return judge_traffic(traffic, (), settings.chance)
    classes = after.classes if before.classes == after.classes else ()
    return judge_traffic(traffic, classes, settings.chance, expect(before, after), agreement)


def judge_traffic(
    traffic: Traffic,
    classes: tuple[str, ...],
    chance: float,
    expected: Expected = NOTHING,
    agreement: Agreement | None = None,
) -> tuple[Measure, ...]:
    """Cut the traffic into blocks and judge it; see `judge`."""
    first = traffic.before[0].since
    blocks = max(MIN_BLOCKS, int((traffic.since - first) // MINUTE))
    before = cut(traffic.before, first, traffic.since, blocks, classes)
    after = cut(traffic.after, traffic.since, traffic.until, AFTER_BLOCKS, classes)
    return judge(before, after, classes, chance, expected, agreement)


def _find_next(looks: tuple[float, ...], since: float, probation: Probation) -> str | None:
    if probation.state != "running" or probation.looks == len(looks):
        return None
    return datetime.fromtimestamp(since + looks[probation.looks], UTC).isoformat(timespec="seconds")


def _to_seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()
