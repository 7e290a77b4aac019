"""Weeks of traffic: calm traffic raises no alarm, and changed traffic raises one soon."""

import numpy as np
import pytest
from trafficked import calm, images, model, profile  # noqa: F401, fixtures

from benchmarks.traffic import (
    DAY,
    Pool,
    Shop,
    change_images,
    count_alarms,
    hours_to_alarm,
    make_pool,
    make_traffic,
)
from components.catalogues.fashion_mnist import CLASSES
from components.contract import Images, Profile
from components.evaluation.profile import Seen, to_seen
from components.model.classifier import Classifier
from components.monitoring.drift.bounds import DriftBounds
from components.scoring.predict import predict

pytestmark = pytest.mark.slow


BOUNDS = DriftBounds()


MEDIUM, SMALL = Shop("medium", 400), Shop("small", 60)


MIXED = Shop("more shoes at night, uploads, a health check", 400, together=5, night=0.4, health=60)


@pytest.mark.slow
@pytest.mark.parametrize(("shop", "seed"), [(MEDIUM, 0), (MEDIUM, 1), (MEDIUM, 2), (SMALL, 3), (MIXED, 4)])
def test_thirty_calm_days_raise_no_alarm(profile: Profile, calm: Seen, shop: Shop, seed: int) -> None:
    traffic = make_traffic(shop, make_pool(calm), 30 * DAY, np.random.default_rng(seed))
    assert count_alarms(profile, traffic, 30 * DAY, BOUNDS)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["brightness +20 %", "brightness -20 %", "blurred, sigma 1 pixel", "inverted", "bags and sandals only"]
)
def test_changed_traffic_raises_an_alarm_soon(
    profile: Profile, model: Classifier, images: Images, calm: Seen, kind: str
) -> None:
    """Within three windows, each an hour at this volume; chance may add one more."""
    if kind == "bags and sandals only":
        changed = calm[np.isin(calm["label"], [CLASSES.index("Bag"), CLASSES.index("Sandal")])]
    else:
        pictures = change_images(images[600:])[kind]
        changed = to_seen(predict(model, pictures), pictures)
    random = np.random.default_rng(0)
    pools: tuple[Pool, Pool] = (make_pool(calm), make_pool(changed))
    delays = [hours_to_alarm(profile, *pools, Shop("large", 1500), BOUNDS, random) for _ in range(2)]
    assert all(delay is not None and delay <= 4 for delay in delays), delays
