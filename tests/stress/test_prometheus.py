"""The alerts over days of made-up series, as promtool works them out."""

import pytest
from promtool import FOLDER, promtool

pytestmark = pytest.mark.slow


def test_each_alert_comes_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", FOLDER / "alerts.test.yml")
