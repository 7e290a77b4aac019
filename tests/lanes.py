"""How the workers of `make test` (pytest-xdist) share the tests: whole files, those that take longest first.

The files of a lane are one worker's work, in their order; every other file is a lane of its own.
"""

from pathlib import PurePath

import pytest
from xdist.scheduler import LoadScopeScheduling

LANES = (
    ("test_unattended", "test_stack"),  # on one stack, which the last of them takes down
    ("test_fuzz",),
    ("test_readme",),
    ("test_flow", "test_train_command"),
    # On one Prefect server.
    (
        "test_real_data",
        "test_sweep",
        "test_drift_flow",
        "test_notify",
        "test_deployment",
        "test_scale",
    ),
    # What they measure (seconds, memory) they measure beside other work, but not beside each other, and not beside the
    # twenty processes of the last of them.
    ("test_slow_clients", "test_stop", "test_live", "test_memory", "test_hammer"),
)
ORDER = [name for lane in LANES for name in lane]


class ByLane(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """xdist's `--dist loadscope`, with lanes for its scopes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        name = PurePath(file).stem
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
    items.sort(key=lambda item: (places.get(item.path.stem, len(ORDER)), item.path not in slow))
