"""The alert rules on days of synthetic series, evaluated by promtool."""

import pytest
from promtool import FOLDER, promtool

pytestmark = pytest.mark.slow


def test_each_alert_fires_exactly_when_expected() -> None:
    assert "SUCCESS" in promtool("test", "rules", FOLDER / "alerts.test.yml")
