"""What a training says in the end."""

from pathlib import Path

import pytest

from fashion.cli.training import _told
from flows.training import TrainingResult

RESULT = TrainingResult(
    "shop-mlp:a", "photos", "images:shop", "0" * 16, 0.9, 0.1, 0.8, None, 3, 1.0, True, "", Path("docs"), Path("report")
)


@pytest.mark.parametrize(("catalogue", "said"), [("", ""), ("fashion-mnist", ""), ("shop", "FASHION_CATALOGUE=shop ")])
def test_what_to_do_next_is_about_the_catalogue_that_was_trained(
    monkeypatch: pytest.MonkeyPatch, catalogue: str, said: str
) -> None:
    monkeypatch.setenv("FASHION_CATALOGUE", catalogue)
    told = _told(RESULT)
    assert f"\n  {said}make serve " in told
    assert f"\n  {said}.venv/bin/fashion score" in told
