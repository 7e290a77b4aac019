"""Measure the false alarm rate and the detection delay of the drift check, by simulation.

    .venv/bin/python -m benchmarks.drift [--months 200] [--trials 100] [--seed 0] [--only TEXT]

Half of the test images form the profile, the other half is the traffic, classified by the live model. The seed
determines the halves and the traffic; the bounds were chosen with seed 0. No computing time is measured, so other load
does not matter.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.traffic import (
    MONTH,
    Pool,
    Shop,
    change_images,
    choose_classes,
    count_alarms,
    draw_shapes,
    hours_to_alarm,
    make_pool,
    make_traffic,
    mix_in,
)
from benchmarks.train import describe_machine
from components.contract import Profile
from components.dataset import manifest
from components.dataset.manifest import read_split
from components.evaluation.profile import Seen, make_profile, to_seen
from components.monitoring.drift.bounds import DriftBounds
from components.registry.champion import load_model
from components.scoring.predict import predict
from components.settings import CHECKOUT, load_settings

SHOPS = (
    Shop("small", 60),
    Shop("medium", 400),
    Shop("large", 2000),
    Shop("medium, more shoes at night", 400, night=0.4),
    Shop("medium, a health check every second", 400, health=3600),
    Shop("medium, uploads of 5 similar images", 400, together=5),
    Shop("medium, uploads of 20 similar images", 400, together=20),
    Shop("large, uploads of 20 similar images", 2000, together=20),
)
SHARES = (0.05, 0.1, 0.2)  # of drawn shapes that are mixed into the traffic


def main() -> None:
    """Simulate, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the names of the changes to simulate")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "drift.md")
    arguments = parser.parse_args()
    model = load_model()
    images = read_split(manifest.dataset_of(load_settings().datasets_dir, model.card.dataset_version), "test").images
    half = np.random.default_rng(arguments.seed).permutation(len(images)) < len(images) // 2
    profile = make_profile(to_seen(predict(model, images[half]), images[half]), len(model.contract.classes))
    rest = images[~half]
    calm = to_seen(predict(model, rest), rest)
    changed = {kind: to_seen(predict(model, one), one) for kind, one in change_images(rest).items()}
    random = np.random.default_rng(arguments.seed)
    shapes = draw_shapes(len(rest), random)
    drawn = to_seen(predict(model, shapes), shapes)
    changed |= {f"{share:.0%} of images are drawn shapes": mix_in(calm, drawn, share, random) for share in SHARES}
    changed = {kind: seen for kind, seen in (changed | choose_classes(calm)).items() if arguments.only in kind}
    lines = [
        "# `python -m benchmarks.drift`\n",
        *describe_machine(),
        f"\nA `{model.card.preset}` on {model.card.source}; {arguments.months} simulated months, "
        f"{arguments.trials} changes of each kind, seed {arguments.seed}. "
        "No computing time is measured, so load does not matter.\n",
        f"Unknown: {(calm['known'] == 0).mean():.1%} of the traffic's test images, "
        f"{(drawn['known'] == 0).mean():.1%} of the drawn shapes.\n",
        *_calm_table(profile, make_pool(calm), arguments.months, arguments.seed),
        "",
        *_change_table(profile, make_pool(calm), changed, arguments.trials, arguments.seed),
    ]
    arguments.to.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _calm_table(profile: Profile, pool: Pool, months: int, seed: int) -> Iterator[str]:
    yield "| stable traffic | images per hour | windows with drift | alarms | alarms per month |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for shop in SHOPS:
        random = np.random.default_rng(seed + 1)
        found = [
            count_alarms(profile, make_traffic(shop, pool, MONTH, random), MONTH, DriftBounds()) for _ in range(months)
        ]
        alarms = sum(alarm for alarm, _ in found)
        alone = np.mean([share for _, share in found])
        rate = f"{alarms / months:.2f}" if alarms else f"under {3 / months:.3f}"  # the rule of three, 95 %
        yield f"| {shop.name} | {shop.images:,.0f} | {alone:.3%} | {alarms} | {rate} |"
        print(f"{shop.name}: {alarms} alarms", flush=True)


def _change_table(profile: Profile, calm: Pool, changed: dict[str, Seen], trials: int, seed: int) -> Iterator[str]:
    shops = SHOPS[:3]
    yield f"| change | {' | '.join(f'{shop.name}, {shop.images:,.0f} per hour' for shop in shops)} |"
    yield "| --- |" + " ---: |" * len(shops)
    for kind, seen in changed.items():
        cells = []
        for shop in shops:
            random = np.random.default_rng(seed + 2)
            found = [hours_to_alarm(profile, calm, make_pool(seen), shop, DriftBounds(), random) for _ in range(trials)]
            delays = sorted(hours for hours in found if hours is not None)
            cells.append(_describe_delays(delays, trials))
        yield f"| {kind} | {' | '.join(cells)} |"
        print(f"{kind}: {cells}", flush=True)


def _describe_delays(hours: list[int], trials: int) -> str:
    if not hours:
        return "not within two days"
    detected = f" ({len(hours) / trials:.0%} detected)" if len(hours) < trials else ""
    return f"{np.median(hours):.0f} h, 95 % within {np.quantile(hours, 0.95):.0f} h{detected}"


if __name__ == "__main__":
    main()
