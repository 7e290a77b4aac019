"""The temporary Prefect server, as far as that needs none."""

import logging

import pytest

from ops.server import hide_address

LOGGER = logging.getLogger("prefect.flow_runs")


@pytest.mark.parametrize(
    ("verbose", "message", "shown"),
    [
        ("", "View at http://127.0.0.1:40411/runs/flow-run/0", False),
        ("1", "View at http://127.0.0.1:40411/runs/flow-run/0", True),
        ("", "epoch 1 of 10", True),
    ],
)
def test_its_address_is_logged_only_when_verbose(
    verbose: str, message: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_DEBUG", verbose)
    monkeypatch.setattr(LOGGER, "filters", [])
    hide_address()
    record = logging.LogRecord("prefect.flow_runs", logging.INFO, "", 0, message, None, None)
    assert bool(LOGGER.filter(record)) is shown
