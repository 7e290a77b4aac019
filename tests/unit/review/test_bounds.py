"""The settings of the review queue."""

from pathlib import Path

import pytest

from components.errors import SettingsError
from components.review.bounds import ReviewBounds, read_review_bounds


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("chosen", [None, "", "off"])
def test_the_queue_is_off_unless_a_folder_is_named(chosen: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if chosen is not None:
        monkeypatch.setenv("FASHION_REVIEW_DIR", chosen)
    assert read_review_bounds() is None


@pytest.mark.usefixtures("settings")
def test_the_bounds_are_read_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_REVIEW_DIR", str(tmp_path))
    assert read_review_bounds() == ReviewBounds(tmp_path, 2000, 14)
    monkeypatch.setenv("FASHION_REVIEW_IMAGES", "500")
    monkeypatch.setenv("FASHION_REVIEW_DAYS", "3")
    assert read_review_bounds() == ReviewBounds(tmp_path, 500, 3)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("value", ["99", "100001", "many", "-1", "1e3"])
def test_a_wrong_bound_is_refused_even_while_the_queue_is_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_REVIEW_IMAGES", value)
    with pytest.raises(SettingsError, match=f"^FASHION_REVIEW_IMAGES: found '{value}', expected a whole number from"):
        read_review_bounds()
