"""How often calm traffic raises an alarm, and how soon traffic that has changed does.

    .venv/bin/python -m benchmarks.drift [--months 200] [--trials 100]

One half of the test images makes the profile, the other half is the traffic, as the live model answers it. Nothing here
is a time that a computer takes, so other load does not matter.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.train import describe_machine
from components import manifest
from components.contract import CLASSES, Images, Profile
from components.drift.bounds import Bounds
from components.drift.windows import HOUR, Window, cut_windows, look_at, weigh
from components.inference.predict import predict
from components.manifest import read_split
from components.monitoring.profile import Seen, make_profile, to_seen
from components.registry.champion import load_model
from components.settings import CHECKOUT, load_settings

DAY, MONTH, LOOK_BACK = 24, 30 * 24, 24  # hours
SHOES = tuple(map(CLASSES.index, ("Sandal", "Sneaker", "Ankle boot")))
Pick = Callable[[int, int], NDArray[np.intp]]  # hour, how many -> rows of a pool


@dataclass(frozen=True)
class Shop:
    """Where traffic comes from: how much, and how alike the images are that come together."""

    name: str
    images: float  # an hour, on the mean of a day
    together: int = 1  # images of an upload, of one class and nearly as bright
    night: float = 0.0  # at night, so many of the images are shoes beyond their share
    health: int = 0  # times an hour that one image comes again


@dataclass(frozen=True)
class Pool:
    """Images that traffic is drawn from, as a model answers them."""

    seen: Seen
    order: NDArray[np.intp]  # rows by class and brightness: neighbours are alike
    shoes: NDArray[np.intp]  # rows


def make_pool(seen: Seen) -> Pool:
    """Of any images."""
    return Pool(seen, np.lexsort((seen["mean"], seen["label"])), np.flatnonzero(np.isin(seen["label"], SHOES)))


def make_traffic(shop: Shop, pool: Pool, hours: int, random: np.random.Generator) -> Seen:
    """Hours of traffic: few images at night, most in the evening, and as many as chance will have.

    Returns:
        In the order of time, from 0.
    """
    return np.concatenate([_make_hour(shop, pool, hour, random) for hour in range(hours)])


def _make_hour(shop: Shop, pool: Pool, hour: int, random: np.random.Generator) -> Seen:
    swing = 1 - 0.8 * np.cos(2 * np.pi * (hour - 4) / DAY)  # 0.2 at four in the morning, 1.8 at four in the afternoon
    uploads = random.poisson(swing * shop.images / shop.together)
    sizes = random.geometric(1 / shop.together, uploads)
    first = random.integers(0, len(pool.order), uploads)
    places = np.repeat(first - sizes // 2, sizes) + np.concatenate([np.arange(size) for size in sizes] or [[]])
    rows = pool.order[places.astype(int) % len(pool.order)]
    if shop.night and swing < 0.6:
        other = random.random(len(rows)) < shop.night
        rows[other] = random.choice(pool.shoes, np.count_nonzero(other))
    made: Seen = pool.seen[rows]
    made["hash"] = random.integers(2**63, size=len(made))  # the pool has few images; of a shop each is new
    made = np.concatenate([made, np.repeat(pool.seen[:1], shop.health)])
    made["time"] = HOUR * (hour + np.sort(random.random(len(made))))
    return made


def follow(
    profile: Profile, traffic: Seen, hours: int, bounds: Bounds, begin: int = 1
) -> Iterator[tuple[int, bool, tuple[Window, ...]]]:
    """Look at traffic each hour, as monitoring/hourly does.

    Yields:
        The hour, whether it is an alarm, and the windows that were looked at.
    """
    known: dict[tuple[float, float], Window] = {}

    def look(seen: Seen, since: float, until: float) -> Window:
        """A window is the same in the next hour: it is judged once."""
        if (since, until) not in known:
            known[since, until] = look_at(profile, bounds, seen, since, until)
        return known[since, until]

    for hour in range(begin, hours + 1):
        windows = []
        for window in cut_windows(traffic, hour * HOUR, min(hour, LOOK_BACK), bounds.least_images, look):
            windows.append(window)
            if len(windows) == bounds.windows:
                break
        yield hour, weigh(tuple(windows), bounds) == "drift", tuple(windows)


def count_alarms(profile: Profile, traffic: Seen, hours: int, bounds: Bounds) -> tuple[int, float]:
    """How many alarms begin in this time, and the share of the newest windows that drift."""
    alarms, before, drifting, judged = 0, False, 0, 0
    for _, alarm, windows in follow(profile, traffic, hours, bounds):
        alarms += alarm and not before
        before = alarm
        if windows and windows[0].features:
            judged, drifting = judged + 1, drifting + bool(windows[0].drifted)
    return alarms, drifting / max(judged, 1)


def hours_to_alarm(
    profile: Profile, calm: Pool, changed: Pool, shop: Shop, bounds: Bounds, random: np.random.Generator
) -> int | None:
    """Hours from a change of traffic, at any hour of the day, to the alarm; None: not within two days."""
    change = DAY + int(random.integers(DAY))
    before, after = (make_traffic(shop, pool, change + 2 * DAY, random) for pool in (calm, changed))
    traffic = np.concatenate([before[before["time"] < change * HOUR], after[after["time"] >= change * HOUR]])
    found = follow(profile, traffic, change + 2 * DAY, bounds, begin=change + 1)
    return next((hour - change for hour, alarm, _ in found if alarm), None)


def change_images(images: Images) -> dict[str, Images]:
    """Kinds of change, uint8 (n, 28, 28) each."""

    def times(factor: float) -> Images:
        return np.clip(images.astype(np.float32) * factor, 0, 255).astype(np.uint8)

    def blur(sigma: float) -> Images:
        return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])

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
    """Kinds of change of the classes alone."""
    kinds = {"bags and sandals only": ("Bag", "Sandal"), "shoes only": ("Sandal", "Sneaker", "Ankle boot")}
    return {kind: seen[np.isin(seen["label"], list(map(CLASSES.index, names)))] for kind, names in kinds.items()}


SHOPS = (
    Shop("small", 60),
    Shop("medium", 400),
    Shop("large", 2000),
    Shop("medium, more shoes at night", 400, night=0.4),
    Shop("medium, a health check every second", 400, health=3600),
    Shop("medium, uploads of 5 alike", 400, together=5),
    Shop("medium, uploads of 20 alike", 400, together=20),
    Shop("large, uploads of 20 alike", 2000, together=20),
)


def main() -> None:
    """Simulate, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "drift.md")
    arguments = parser.parse_args()
    model = load_model()
    images = read_split(manifest.dataset_of(load_settings().datasets_dir, model.card.dataset_version), "test").images
    half = np.random.default_rng(0).permutation(len(images)) < len(images) // 2
    profile = make_profile(to_seen(predict(model, images[half]), images[half]))
    rest = images[~half]
    calm = to_seen(predict(model, rest), rest)
    changed = {kind: to_seen(predict(model, one), one) for kind, one in change_images(rest).items()}
    lines = [
        "# `python -m benchmarks.drift`\n",
        *describe_machine(),
        f"\nA `{model.card.preset}` on {model.card.source}; {arguments.months} simulated months, "
        f"{arguments.trials} changes of each kind.\n",
        *_calm_table(profile, make_pool(calm), arguments.months),
        "",
        *_change_table(profile, make_pool(calm), changed | choose_classes(calm), arguments.trials),
    ]
    arguments.to.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _calm_table(profile: Profile, pool: Pool, months: int) -> Iterator[str]:
    yield "| calm traffic | images an hour | windows that drift alone | alarms | in a month |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for shop in SHOPS:
        random = np.random.default_rng(1)
        found = [count_alarms(profile, make_traffic(shop, pool, MONTH, random), MONTH, Bounds()) for _ in range(months)]
        alarms = sum(alarm for alarm, _ in found)
        alone = np.mean([share for _, share in found])
        most = f"{alarms / months:.2f}" if alarms else f"under {3 / months:.3f}"  # the rule of three, 95 %
        yield f"| {shop.name} | {shop.images:,.0f} | {alone:.3%} | {alarms} | {most} |"
        print(f"{shop.name}: {alarms} alarms", flush=True)


def _change_table(profile: Profile, calm: Pool, changed: dict[str, Seen], trials: int) -> Iterator[str]:
    shops = SHOPS[:3]
    yield f"| change | {' | '.join(f'{shop.name}, {shop.images:,.0f} an hour' for shop in shops)} |"
    yield "| --- |" + " ---: |" * len(shops)
    for kind, seen in changed.items():
        cells = []
        for shop in shops:
            random = np.random.default_rng(2)
            found = [hours_to_alarm(profile, calm, make_pool(seen), shop, Bounds(), random) for _ in range(trials)]
            noticed = sorted(hours for hours in found if hours is not None)
            cells.append(_tell_delays(noticed, trials))
        yield f"| {kind} | {' | '.join(cells)} |"
        print(f"{kind}: {cells}", flush=True)


def _tell_delays(hours: list[int], trials: int) -> str:
    if not hours:
        return "not in two days"
    noticed = f" ({len(hours) / trials:.0%} noticed)" if len(hours) < trials else ""
    return f"{np.median(hours):.0f} h, 95 % within {np.quantile(hours, 0.95):.0f} h{noticed}"


if __name__ == "__main__":
    main()
