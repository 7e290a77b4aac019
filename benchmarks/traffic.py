"""Simulated traffic of a shop, sampled from classified images, and the hourly drift check on it."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Images, Profile
from components.evaluation.profile import Seen
from components.monitoring.drift.bounds import DriftBounds
from components.monitoring.drift.windows import HOUR, Window, cut_windows, look_at, weigh

DAY, MONTH, LOOK_BACK = 24, 30 * 24, 24  # hours
SHOES = tuple(map(CLASSES.index, ("Sandal", "Sneaker", "Ankle boot")))


@dataclass(frozen=True)
class Shop:
    """A source of traffic: its volume, and the similarity of images within an upload."""

    name: str
    images: float  # mean number of images per hour
    together: int = 1  # mean number of images per upload, of one class and similar brightness
    night: float = 0.0  # share of images replaced by shoes at night
    health: int = 0  # how often per hour the same image is sent as a health check


@dataclass(frozen=True)
class Pool:
    """Classified images to sample traffic from."""

    seen: Seen
    order: NDArray[np.intp]  # rows sorted by class and brightness, so that neighbours are similar
    shoes: NDArray[np.intp]  # rows


def make_pool(seen: Seen) -> Pool:
    """Create a pool from classified images."""
    return Pool(seen, np.lexsort((seen["mean"], seen["label"])), np.flatnonzero(np.isin(seen["label"], SHOES)))


def make_traffic(shop: Shop, pool: Pool, hours: int, random: np.random.Generator) -> Seen:
    """Sample hours of traffic with a daily cycle: few images at night, most in the afternoon.

    Returns:
        The traffic, sorted by time from 0.
    """
    return np.concatenate([_make_hour(shop, pool, hour, random) for hour in range(hours)])


def _make_hour(shop: Shop, pool: Pool, hour: int, random: np.random.Generator) -> Seen:
    swing = 1 - 0.8 * np.cos(2 * np.pi * (hour - 4) / DAY)  # 0.2 at 4 a.m., 1.8 at 4 p.m.
    uploads = random.poisson(swing * shop.images / shop.together)
    sizes = random.geometric(1 / shop.together, uploads)
    first = random.integers(0, len(pool.order), uploads)
    places = np.repeat(first - sizes // 2, sizes) + np.concatenate([np.zeros(0, int), *map(np.arange, sizes)])
    rows = pool.order[places % len(pool.order)]
    if shop.night and swing < 0.6:
        other = random.random(len(rows)) < shop.night
        rows[other] = random.choice(pool.shoes, np.count_nonzero(other))
    made: Seen = pool.seen[rows]
    made["hash"] = random.integers(2**63, size=len(made))  # a shop's images are all new, but the pool is small
    made = np.concatenate([made, np.repeat(pool.seen[:1], shop.health)])
    made["time"] = HOUR * (hour + np.sort(random.random(len(made))))
    return made


def follow(
    profile: Profile, traffic: Seen, hours: int, bounds: DriftBounds, begin: int = 1
) -> Iterator[tuple[int, bool, tuple[Window, ...]]]:
    """Check the traffic each hour, as monitoring/hourly does.

    Yields:
        The hour, whether it raises an alarm, and the windows that were checked.
    """
    known: dict[tuple[float, float], Window] = {}

    def judge(seen: Seen, since: float, until: float) -> Window:
        """Judge a window, cached because later hours check it again."""
        if (since, until) not in known:
            known[since, until] = look_at(profile, CLASSES, bounds, seen, since, until)
        return known[since, until]

    for hour in range(begin, hours + 1):
        windows = []
        for window in cut_windows(traffic, hour * HOUR, min(hour, LOOK_BACK), bounds.min_images, judge):
            windows.append(window)
            if len(windows) == bounds.windows:
                break
        yield hour, weigh(tuple(windows), bounds) == "drift", tuple(windows)


def count_alarms(profile: Profile, traffic: Seen, hours: int, bounds: DriftBounds) -> tuple[int, float]:
    """The number of alarms that start in this time, and the share of newest windows with drift."""
    alarms, before, drifting, judged = 0, False, 0, 0
    for _, alarm, windows in follow(profile, traffic, hours, bounds):
        alarms += alarm and not before
        before = alarm
        if windows and windows[0].features:
            judged, drifting = judged + 1, drifting + bool(windows[0].drifted)
    return alarms, drifting / max(judged, 1)


def hours_to_alarm(
    profile: Profile, calm: Pool, changed: Pool, shop: Shop, bounds: DriftBounds, random: np.random.Generator
) -> int | None:
    """Hours from a change of traffic at a random time of day to the alarm; None if not within two days."""
    change = DAY + int(random.integers(DAY))
    before, after = (make_traffic(shop, pool, change + 2 * DAY, random) for pool in (calm, changed))
    traffic = np.concatenate([before[before["time"] < change * HOUR], after[after["time"] >= change * HOUR]])
    found = follow(profile, traffic, change + 2 * DAY, bounds, begin=change + 1)
    return next((hour - change for hour, alarm, _ in found if alarm), None)


def change_images(images: Images) -> dict[str, Images]:
    """Changed versions of the images by kind of change, uint8 (n, 28, 28) each."""

    def times(factor: float) -> Images:
        scaled: Images = np.clip(images.astype(np.float32) * factor, 0, 255).astype(np.uint8)
        return scaled

    def blur(sigma: float) -> Images:
        return np.stack([np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8) for image in images])

    return {
        "brightness +10 %": times(1.1),
        "brightness +20 %": times(1.2),
        "brightness +30 %": times(1.3),
        "brightness -20 %": times(0.8),
        "contrast: gamma 0.8": (255 * (images / 255) ** 0.8).astype(np.uint8),
        "blurred, sigma 0.5 pixels": blur(0.5),
        "blurred, sigma 1 pixel": blur(1.0),
        "background 10 instead of 0": np.maximum(images, 10),
        "moved down by 2 pixels": np.roll(images, 2, axis=1),
        "mirrored": np.ascontiguousarray(images[:, :, ::-1]),
        "turned by 90 degrees": np.ascontiguousarray(np.rot90(images, axes=(1, 2))),
        "inverted": 255 - images,
    }


def choose_classes(seen: Seen) -> dict[str, Seen]:
    """Traffic with fewer classes, by kind of change."""
    kinds = {"bags and sandals only": ("Bag", "Sandal"), "shoes only": ("Sandal", "Sneaker", "Ankle boot")}
    return {kind: seen[np.isin(seen["label"], list(map(CLASSES.index, names)))] for kind, names in kinds.items()}


def mix_in(calm: Seen, other: Seen, share: float, random: np.random.Generator) -> Seen:
    """Replace a share of traffic by other images."""
    mixed: Seen = calm.copy()
    rows = random.permutation(len(calm))[: round(share * len(calm))]
    mixed[rows] = random.choice(other, len(rows))
    return mixed


def draw_shapes(count: int, random: np.random.Generator) -> Images:
    """Bright outlines and solid shapes on black, which no class fits, uint8 (count, 28, 28)."""
    images = np.zeros((count, 28, 28), np.uint8)
    for image, kind in zip(images, random.integers(0, 4, count), strict=True):
        grey, thickness = int(random.integers(100, 256)), int(random.choice([-1, 1, 2, 3]))
        if kind == 0:
            centre, radius = random.integers(9, 19, 2).tolist(), int(random.integers(4, 10))
            cv2.circle(image, centre, radius, grey, thickness)
        elif kind == 1:
            low, high = random.integers(1, 12, 2).tolist(), random.integers(16, 27, 2).tolist()
            cv2.rectangle(image, low, high, grey, thickness)
        else:
            corners = [random.integers(1, 27, (3 if kind == 2 else 7, 2), np.int32)]
            if thickness < 0:
                cv2.fillPoly(image, corners, grey)
            else:
                cv2.polylines(image, corners, True, grey, thickness)
    return images
