"""The flow that judges models by live traffic."""

import pytest
from prefect.logging import disable_run_logger

from components.errors import DatasetError
from flows import probation

pytestmark = pytest.mark.usefixtures("bentoml_home")


def test_without_a_live_model_there_is_nothing_to_judge() -> None:
    with disable_run_logger():
        assert probation.probation.fn() == "none"


def test_a_model_that_cannot_be_promoted_does_not_fail_the_probation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fail, and notify people, every five minutes."""

    def fail() -> None:
        raise DatasetError("the test images are missing")

    monkeypatch.setattr(probation, "follow_waiting", fail)
    with disable_run_logger():
        assert probation.probation.fn() == "none"
