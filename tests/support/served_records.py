"""Records of simulated traffic: uploads of similar images, with a class mix that wanders from hour to hour."""

import numpy as np

from components.monitoring.serving_record import ServingRecord

NAMES = ("ankle", "bag", "coat", "dress", "hat")
PROMOTED = 1_000_000.0  # seconds since 1970
HOUR = 3_600.0


def make_records(
    random: np.random.Generator,
    since: float,
    until: float,
    *,
    model: str = "fashion-mlp:aaaaaaaa",
    requests: float = 20,
    together: int = 3,
    wander: float = 0.2,
    errors: float = 0.0,
    slower: int = 0,
    not_sure: float = 0.1,
    unknown: float = 0.05,
    bins: tuple[int, ...] = (12, 15, 18, 19, 19),
    merged: bool = False,
) -> list[ServingRecord]:
    """Records of a minute each.

    Args:
        random: source of chance.
        since: start, seconds since 1970.
        until: end.
        model: exact tag.
        requests: mean per record.
        together: images of a request, all of one class and sure or not together.
        wander: log spread of a class's share between hours.
        errors: share of failed requests.
        slower: by how many buckets latencies are above the usual ones.
        not_sure: share of the requests on whose images the model abstains.
        unknown: share of the requests with unknown images.
        bins: of confidence, from which each request draws.
        merged: whether the first class is answered as the second.
    """
    found, hour, shares = [], -1, np.ones(len(NAMES))
    for start in np.arange(since, until - 59, 60):
        if int(start // HOUR) != hour:
            hour, shares = int(start // HOUR), np.exp(random.normal(0, wander, len(NAMES)))
        count = int(random.poisson(requests))
        failed = int(random.binomial(count, errors))
        labels = random.choice(len(NAMES), count - failed, p=shares / shares.sum())
        if merged:
            labels[labels == 0] = 1
        images = [together * int((labels == label).sum()) for label in range(len(NAMES))]
        buckets = random.choice([12, 13, 14, 15], count - failed) + slower
        chosen = random.choice(bins, count - failed)
        found.append(
            ServingRecord(
                model=model,
                since=float(start),
                until=float(start) + 60,
                requests=count - failed,
                errors=failed,
                seconds=_count(buckets),
                classes={name: number for name, number in zip(NAMES, images, strict=True) if number},
                not_sure=together * int(random.binomial(count - failed, not_sure)),
                checked=sum(images),
                unknown=together * int(random.binomial(count - failed, unknown)),
                confidence={name: together * number for name, number in _count(chosen).items()},
            )
        )
    return found


def _count(values: np.ndarray) -> dict[str, int]:
    return {str(value): int(number) for value, number in zip(*np.unique(values, return_counts=True), strict=True)}
