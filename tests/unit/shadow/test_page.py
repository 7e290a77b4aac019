"""The page of a shadow."""

from pathlib import Path

import pytest
from following import save
from shadows import LIVE, counts_of, start

from components.contract import ModelCard
from components.registry import champion
from components.shadow.counts import BUSY, pair_folder
from components.shadow.flips import FlipFile, ShadowFlip
from components.shadow.page import write_page
from components.shadow.verdict import ShadowVerdict
from components.training.train import Trained


@pytest.mark.usefixtures("bentoml_home")
def test_the_page_shows_the_verdict_the_pictures_and_the_coverage(
    trained: Trained, card: ModelCard, tmp_path: Path
) -> None:
    champion.make_live(save(trained, card, 1.0), "a test")
    tag = save(trained, card, 2.0)
    shadow = start(tag, keep_images=1)
    pairs = ("Coat", "Coat", 80), ("Coat", "<Shirt>", 20)
    counts = counts_of(*pairs, candidate=tag, shadow=shadow, seen=103, skipped={BUSY: 3})
    flip = ShadowFlip(1.0, "Coat", "<Shirt>", 0.9, 0.6, True, False, "0123456789abcdef", "AAAA")
    FlipFile(pair_folder(shadow, LIVE) / "1-a.jsonl").append([flip])
    write_page(ShadowVerdict(counts), tmp_path / "shadow.html")
    page = (tmp_path / "shadow.html").read_text()
    assert "would change 20.0 % (13.3 to 28.9 %) of answers; 20 % of Coat become &lt;Shirt&gt;" in page
    assert "data:image/png;base64,AAAA" in page
    assert "0123456789abcdef" in page
    assert "skipped: busy" in page
    assert "<Shirt>" not in page
    assert "http://" not in page


@pytest.mark.usefixtures("bentoml_home")
def test_a_shadow_without_images_has_a_page(trained: Trained, card: ModelCard, tmp_path: Path) -> None:
    champion.make_live(save(trained, card, 1.0), "a test")
    tag = save(trained, card, 2.0)
    write_page(ShadowVerdict(counts_of(candidate=tag, shadow=start(tag))), tmp_path / "shadow.html")
    assert "no image has been mirrored yet" in (tmp_path / "shadow.html").read_text()
