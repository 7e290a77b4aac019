"""How the workers of `make test` (pytest-xdist) share the tests: whole files, those that take longest first.

The files of a lane are one worker's work, in their order; every other file is a lane of its own.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

LANES = (
    ("stress/test_unattended", "journeys/test_stack"),  # on one stack, which the last of them takes down
    ("stress/test_fuzz",),
    ("journeys/test_readme",),
    ("journeys/test_flow", "journeys/test_train_command"),
    # On one Prefect server.
    (
        "journeys/test_real_data",
        "unit/training/test_sweeps",
        "journeys/test_drift_flow",
        "unit/flows/test_notify",
        "journeys/test_deployment",
        "stress/test_scale",
    ),
    # What they measure (seconds, memory) they measure beside other work, but not beside each other, and not beside the
    # twenty processes of the last of them.
    (
        "stress/test_slow_clients",
        "stress/test_stop",
        "unit/serving/test_live",
        "stress/test_memory",
        "stress/test_hammer",
    ),
)
ORDER = [name for lane in LANES for name in lane]


class ByLane(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """xdist's `--dist loadscope`, with lanes for its scopes."""

    def _split_scope(self, nodeid: str) -> str:
        name = name_of(nodeid)
        return next((lane[0] for lane in LANES if name in lane), name)


@pytest.hookimpl(tryfirst=True)  # before xdist's own
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByLane:
    config.option.loadscopereorder = False  # the order is the one below
    return ByLane(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: the lanes above, then the other files with slow tests, then the rest."""
    if not hasattr(config, "workerinput"):
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    places = {name: place for place, name in enumerate(ORDER)}
    items.sort(key=lambda item: (places.get(name_of(item.nodeid), len(ORDER)), item.path not in slow))


def name_of(nodeid: str) -> str:
    return nodeid.partition("::")[0].removeprefix("tests/").removesuffix(".py")
