"""The validation page of a dataset that passed and of one that was refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from pages import Page

from components.catalogues.sample import draw
from components.contract import Dataset, Validated
from components.dataset.archives import ARCHIVES, declare_source
from components.dataset.ingest import ingest
from components.dataset.validate import validate
from components.errors import ValidationError
from components.readers.images.idx import encode_idx
from components.settings import Settings


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> ValidationError:
    """The refusal of a dataset with a black image, an inverted one, a duplicate and a missing class."""
    folder = tmp_path_factory.mktemp("refused")
    generator = np.random.default_rng(0)
    for split, rows in (("train", 300), ("test", 200)):
        images, labels = (array.copy() for array in draw(rows, generator))
        if split == "train":
            images[5], images[6], images[9] = 0, 255 - images[6], images[8]
        else:
            labels[labels == 9] = 8
        (folder / ARCHIVES[split].images).write_bytes(encode_idx(images))  # type: ignore[index]
        (folder / ARCHIVES[split].labels).write_bytes(encode_idx(labels))  # type: ignore[index]
    declare_source(folder, "acme <b>", "MIT")
    settings = Settings(data_dir=folder / "data")
    with pytest.raises(ValidationError) as error:
        validate(ingest(str(folder), settings=settings).dataset, settings=settings)
    return error.value


@pytest.fixture(scope="module")
def bad(refused: ValidationError) -> Page:
    assert refused.page
    return Page(refused.page)


def test_the_page_starts_with_the_verdict_and_the_counts(validated: Validated, dataset: Dataset) -> None:
    page = Page(validated.docs)
    text = " ".join(page.text.split())
    assert "Validation passed" in text
    assert dataset.version in text
    assert f"{validated.expectations}expectations met 0expectations failed" in text
    assert "600images in the train split 200images in the test split" in text
    assert page.sections == ["classes", "train", "test"]


def test_each_expectation_says_what_was_found_and_expected(validated: Validated) -> None:
    rows = Page(validated.docs).table("expectation", "result", "found", "expected")
    found = {name: (result, expected) for name, result, _, expected in (row for row in rows if len(row) == 4)}
    assert found["Mean brightness of the border"] == ("met", "0 to 150")
    assert found["Exact duplicates in the other split"] == ("met", "none")
    assert found["Classes in the split"] == ("met", "all 10")


def test_the_page_links_to_the_data_docs_and_to_nothing_else(validated: Validated, bad: Page) -> None:
    for page in (Page(validated.docs), bad):
        outside = {link for link in page.references if not link.startswith(("#", "data:"))}
        assert outside == {"data_docs/index.html"}
        assert (page.path.parent / "data_docs" / "index.html").is_file()
        assert "script" not in page.tags


def test_the_refusal_names_its_page(refused: ValidationError) -> None:
    assert str(refused).endswith(f"\nValidation page: {refused.page}")
    assert refused.page
    assert refused.page.is_file()


def test_failed_expectations_come_first_with_examples(refused: ValidationError, bad: Page) -> None:
    text = " ".join(bad.text.split())
    assert "Validation failed" in text
    assert f"{len(refused.broken)} of 46 expectations failed" in text
    assert "missing: Ankle boot" in text
    assert "acme <b>" in text, "a source's name is text, not markup"
    assert bad.sections[0] == "failed"
    first = next(row for row in bad.table("expectation", "result") if len(row) == 4)
    assert first[1] == "failed"
    assert any(caption[-1] == "train-00005" and "0" in caption for caption in bad.captions)
    assert len(re.findall("data:image/png", Path(bad.path).read_text())) == len(bad.captions) >= 5


def test_the_class_balance_is_counted(bad: Page) -> None:
    counts = {row[0]: row[1:] for row in bad.table("class", "train images")[:10]}
    assert counts["Ankle boot"] == ["30", "0"]
    assert counts["Bag"] == ["30", "40"]
