"""Simulated traffic before and after a promotion, as the records that the service writes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contract import Predictions
from components.monitoring.serving_record import BUCKETS, CONFIDENCE_BINS, LIMITS, ServingRecord

HOUR, DAY = 3_600.0, 86_400.0  # seconds
STEP = 30.0  # seconds of a record; the service's have ten
FAILURES = 0.0002  # share of the requests that fail anyway
INCIDENTS = 1.0  # a day: half a minute in which half of the requests fail
SECONDS, SPREAD = 0.006, 0.5  # median and log spread of a request's latency
BUSY = 0.25  # log spread of the latency between hours

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Answers:
    """What a model answers to each image of the pool."""

    labels: Rows  # (n,)
    sure: NDArray[np.bool_]
    known: NDArray[np.bool_]
    bins: Rows  # of confidence, (n,)
    slower: float = 1.0  # factor of the latency
    fails: NDArray[np.bool_] | None = None  # images that the model cannot answer: the request fails

    @classmethod
    def of(cls, found: Predictions) -> "Answers":
        """The answers in a model's predictions."""
        known = found.known if found.known is not None else np.ones(len(found.labels), bool)
        return cls(found.labels.astype(np.intp), found.sure, known, to_bins(found.confidences))


def to_bins(confidences: NDArray[np.float32]) -> Rows:
    """The bin of each confidence."""
    return np.clip((confidences * CONFIDENCE_BINS).astype(np.intp), 0, CONFIDENCE_BINS - 1)


@dataclass(frozen=True)
class Shop:
    """Where the traffic comes from."""

    name: str
    images: float  # mean per hour
    together: float = 3.0  # mean per upload, of one class and similar brightness; an upload is a request
    wander: float = 0.3  # log spread of a class's share; it changes over six hours


@dataclass(frozen=True)
class Stream:
    """Requests in order of time, and their images."""

    times: NDArray[np.float64]  # of each request, seconds from the promotion
    seconds: NDArray[np.float64]  # latency of each request
    failed: NDArray[np.bool_]  # requests that fail with any model
    request: Rows  # of each image
    rows: Rows  # of each image, in the pool


def make_stream(
    shop: Shop, order: Sequence[Rows], since: float, until: float, clock: float, random: np.random.Generator
) -> Stream:
    """Draw traffic with a daily cycle, and a class mix that wanders.

    Args:
        shop: volume and uploads.
        order: for each class, the rows of the pool by brightness.
        since: start, seconds from the promotion.
        until: end.
        clock: time of day of the promotion, hours.
        random: source of chance.
    """
    hours = np.arange(np.floor(since / HOUR), np.ceil(until / HOUR) + 1)
    logs = np.zeros((len(hours), len(order)))
    logs[0] = random.normal(0, shop.wander, len(order))
    keep = np.exp(-1 / 6)
    for hour in range(1, len(hours)):
        logs[hour] = keep * logs[hour - 1] + np.sqrt(1 - keep**2) * random.normal(0, shop.wander, len(order))
    counts, starts = [], []
    for hour in hours:
        swing = 1 - 0.8 * np.cos(2 * np.pi * (hour + clock - 4) / 24)  # as in benchmarks.traffic
        counts.append(random.poisson(swing * shop.images / shop.together))
        starts.append(hour * HOUR + np.sort(random.random(counts[-1])) * HOUR)
    place = np.repeat(np.arange(len(hours)), counts)
    times = np.concatenate(starts)
    shares = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    labels = (random.random(len(times))[:, None] > np.cumsum(shares, axis=1)[place][:, :-1]).sum(axis=1)
    inside = (times >= since) & (times < until)
    times, place, labels = times[inside], place[inside], labels[inside]
    sizes = random.geometric(1 / shop.together, len(times))
    request = np.repeat(np.arange(len(times)), sizes)
    offset = np.arange(len(request)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first, lengths = random.random(len(times)), np.array([len(one) for one in order])
    begin = (first * lengths[labels]).astype(np.intp)
    within = (begin[request] + offset) % lengths[labels][request]
    starts_of = np.cumsum(lengths) - lengths
    rows = np.concatenate(order)[starts_of[labels][request] + within]
    busy = np.exp(random.normal(0, BUSY, len(hours)))[place]
    seconds = SECONDS * busy * np.exp(random.normal(0, SPREAD, len(times)))
    return Stream(times, seconds, _draw_failures(times, since, until, random), request, rows)


def _draw_failures(
    times: NDArray[np.float64], since: float, until: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    failed = random.random(len(times)) < FAILURES
    for start in since + random.random(random.poisson(INCIDENTS * (until - since) / DAY)) * (until - since):
        failed |= (times >= start) & (times < start + STEP) & (random.random(len(times)) < 0.5)
    return failed


def find_failed(stream: Stream, answers: Answers) -> NDArray[np.bool_]:
    """The requests that fail with a model."""
    if answers.fails is None:
        return stream.failed
    broken = np.bincount(stream.request, answers.fails[stream.rows], len(stream.times)) > 0
    return stream.failed | broken


def to_records(stream: Stream, answers: Answers, model: str, classes: Sequence[str]) -> list[ServingRecord]:
    """The records of a model that answers a stream; times are seconds since 1970, with the promotion at ten days."""
    if not len(stream.times):
        return []
    failed = find_failed(stream, answers)
    step = (stream.times // STEP).astype(np.intp)
    first, steps = int(step[0]), int(step[-1] - step[0]) + 1
    step = step - first
    image_step = step[stream.request][~failed[stream.request]]
    rows = stream.rows[~failed[stream.request]]

    def table(places: Rows, columns: Rows, width: int) -> NDArray[np.intp]:
        return np.bincount(places * width + columns, minlength=steps * width).reshape(steps, width)

    buckets = np.searchsorted(LIMITS, stream.seconds[~failed] * answers.slower)
    seconds = table(step[~failed], buckets, BUCKETS)
    labels = table(image_step, answers.labels[rows], len(classes))
    bins = table(image_step, answers.bins[rows], CONFIDENCE_BINS)
    not_sure = np.bincount(image_step[~answers.sure[rows]], minlength=steps)
    unknown = np.bincount(image_step[~answers.known[rows]], minlength=steps)
    errors = np.bincount(step[failed], minlength=steps)
    names = [str(bucket) for bucket in range(max(BUCKETS, CONFIDENCE_BINS))]
    return [
        ServingRecord(
            model=model,
            since=10 * DAY + (first + place) * STEP,
            until=10 * DAY + (first + place + 1) * STEP,
            requests=int(seconds[place].sum()),
            errors=int(errors[place]),
            seconds=_sparse(names, seconds[place]),
            classes=_sparse(classes, labels[place]),
            not_sure=int(not_sure[place]),
            checked=int(labels[place].sum()),
            unknown=int(unknown[place]),
            confidence=_sparse(names, bins[place]),
        )
        for place in np.unique(step).tolist()
    ]


def _sparse(names: Sequence[str], counts: NDArray[np.intp]) -> dict[str, int]:
    filled = np.flatnonzero(counts).tolist()
    return {names[place]: int(counts[place]) for place in filled}
