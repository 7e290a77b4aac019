"""Impact of replacing a model: counts, page and CSV, for the test split and for any table."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pages import Page
from readings import PIXEL_COLUMNS
from revised import ADDED, FIRST, Shown, became, model_of

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Dataset, ModelCard, Predictions
from components.dataset.manifest import Examples, dataset_of, read_split, to_table
from components.errors import DatasetError, InputError, ModelError
from components.evaluation.compare import count_changes, find_flips
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.promotion.impact import Impact, changed_schema, write_impact
from components.promotion.tally import SHOWN, Tally
from components.readers.blocks import Block, RowReject
from components.scoring.predict import predict
from components.scoring.tables import inert
from components.settings import Settings
from components.training.train import Trained

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = ("=cmd|' /C calc'!A0", "<img src=x onerror=alert(1)>", "'+1", "@x", "a,b", '"quoted"')


@pytest.fixture(scope="module")
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:aaaaaaaa", card, trained.network.to_numpy())


@pytest.fixture(scope="module")
def live(card: ModelCard) -> Classifier:
    """An untrained network that abstains on half of the classes."""
    torch.manual_seed(5)
    calibration = dataclasses.replace(card.calibration, thresholds=(0.0, 1.0) * 5)
    unlike = dataclasses.replace(card, calibration=calibration)
    return Classifier("fashion-mlp:bbbbbbbb", unlike, MLP(ModelConfig(hidden=(8,)), CONTRACT).to_numpy())


@pytest.fixture(scope="module")
def impact(model: Classifier, live: Classifier, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Impact:
    return write_impact(model, live, dataset, tmp_path_factory.mktemp("impact"))


def rows_of(impact: Impact) -> list[dict[str, str]]:
    with impact.table.open(newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, examples: Examples, *, ids: bool = True, labels: bool = True, bad: int = 0) -> Path:
    lines = [",".join([*["id"] * ids, *["label"] * labels, *PIXEL_COLUMNS])]
    for row_id, label, image in zip(examples.ids, examples.labels.tolist(), examples.images, strict=True):
        quoted = '"' + row_id.replace('"', '""') + '"'
        lines.append(",".join([*[quoted] * ids, *[str(label)] * labels, *map(str, image.ravel())]))
    path.write_text("\n".join([*lines, *["not,an,image"] * bad]) + "\n")
    return path


# --- counts ---

Answers = st.lists(st.tuples(*[st.integers(0, 9)] * 3), max_size=60)


@given(Answers)
def test_per_class_changes_sum_to_the_flips(answers: list[tuple[int, int, int]]) -> None:
    labels, before, after = np.array(answers, np.uint8).reshape(-1, 3).T
    changes = count_changes(labels, before, after, CLASSES)
    flips = find_flips(labels, after, np.ones(len(after)), before)
    assert (changes.images, changes.flips) == (len(after), int((before != after).sum()))
    assert changes.labelled == bool(len(after))
    assert (changes.fixed, changes.regressed, changes.moved) == (
        len(flips.fixed),
        len(flips.regressed),
        len(flips.moved),
    )
    assert changes.chance == flips.chance
    for label, one in enumerate(changes.classes):
        was, now = before == label, after == label
        assert (one.before, one.after) == (was.sum(), now.sum())
        assert (one.gained, one.lost) == ((now & ~was).sum(), (was & ~now).sum())
        of_it = labels == label
        assert one.fixed + one.regressed + one.moved == (of_it & (before != after)).sum()
        assert one.fixed == (of_it & now & ~was).sum()
        assert one.regressed == (of_it & was & ~now).sum()


@given(Answers, st.integers(0, 60))
def test_counts_of_parts_sum_to_the_counts_of_the_whole(answers: list[tuple[int, int, int]], cut: int) -> None:
    labels, before, after = np.array(answers, np.uint8).reshape(-1, 3).T
    first, second = (
        count_changes(labels[part], before[part], after[part], CLASSES) for part in (np.s_[:cut], np.s_[cut:])
    )
    together, whole = first + second, count_changes(labels, before, after, CLASSES)
    assert np.array_equal(together.table, whole.table)
    assert (together.classes, together.unlabelled) == (whole.classes, whole.unlabelled)


def test_without_labels_nothing_is_fixed_or_regressed() -> None:
    before, after = np.array([[0, 1, 2], [0, 2, 1]], np.uint8)
    changes = count_changes(None, before, after, CLASSES)
    assert not changes.labelled
    assert (changes.images, changes.flips, changes.most_common) == (3, 2, 1)
    assert (changes.fixed, changes.regressed, changes.moved, changes.chance) == (0, 0, 0, 1.0)


# --- outputs ---


def test_the_csv_has_every_flip_and_nothing_else(
    model: Classifier, live: Classifier, test_split: Examples, impact: Impact
) -> None:
    before, after = predict(live, test_split.images), predict(model, test_split.images)
    flipped = np.flatnonzero(before.labels != after.labels).tolist()
    rows = rows_of(impact)
    assert 0 < len(flipped) < len(test_split.ids)
    assert list(rows[0]) == changed_schema(CLASSES).names
    assert [row["id"] for row in rows] == [test_split.ids[row] for row in flipped]
    for row, line in zip(flipped, rows, strict=True):
        assert line["label"] == str(test_split.labels[row])
        for word, answers in (("before", before), ("after", after)):
            assert line[f"{word}_label"] == str(answers.labels[row])
            assert line[f"{word}_name"] == answers.names[row]
            assert float(line[f"{word}_confidence"]) == pytest.approx(answers.confidences[row], abs=1e-6)
            assert line[f"{word}_sure"] == ("yes" if answers.sure[row] else "no")
            assert line[f"{word}_model"] == answers.model
        right = [answers.labels[row] == test_split.labels[row] for answers in (before, after)]
        assert line["change"] == ("fixed" if right[1] else "regressed" if right[0] else "moved")
    assert {line["before_sure"] for line in rows} == {"yes", "no"}


def test_the_counts_match_the_csv(impact: Impact, test_split: Examples) -> None:
    counts, rows = impact.to_json(), rows_of(impact)
    json.dumps(counts)
    assert (counts["images"], counts["flips"], counts["rejected"]) == (len(test_split.ids), len(rows), 0)
    for kind in ("fixed", "regressed", "moved"):
        assert counts[kind] == sum(row["change"] == kind for row in rows) > 0
    assert counts["both_sure"] == sum(row["before_sure"] == row["after_sure"] == "yes" for row in rows)
    for label, one in enumerate(counts["classes"]):
        assert one["gained"] == sum(row["after_label"] == str(label) for row in rows)
        assert one["lost"] == sum(row["before_label"] == str(label) for row in rows)
        assert one["regressed"] == sum(row["label"] == str(label) and row["change"] == "regressed" for row in rows)
        for other, count in enumerate(counts["from_to"][label]):
            pair = [row for row in rows if (row["before_label"], row["after_label"]) == (str(label), str(other))]
            assert label == other or count == len(pair)


def test_the_page_shows_the_counts_by_class(impact: Impact) -> None:
    page, counts = Page(impact.page), impact.to_json()
    assert page.sections == ["classes", "flips", "pictures"]
    assert f"{counts['flips']} of {counts['images']}" in page.text
    assert f"{counts['fixed']}fixed" in page.text
    assert f"{impact.tag} and {impact.other} were trained on synthetic samples" in page.text
    rows = page.table("before", "after", "gained", "lost", "fixed", "regressed", "moved")
    names = ("name", "before", "after", "gained", "lost", "fixed", "regressed", "moved")
    assert rows[:10] == [[str(one[name]) for name in names] for one in counts["classes"]]
    shown = page.table("from (rows) to (columns)")[:10]
    moves = [
        [str(count) for count in row if count] for row in np.array(counts["from_to"]) * (1 - np.eye(10, dtype=int))
    ]
    assert [[cell for cell in row[1:] if cell != "\u00b7"] for row in shown] == moves


def test_the_examples_are_the_most_confident_of_each_new_label(
    model: Classifier, live: Classifier, test_split: Examples, impact: Impact
) -> None:
    before, after = predict(live, test_split.images), predict(model, test_split.images)
    expected = []
    for label in range(len(CLASSES)):
        flipped = np.flatnonzero((before.labels != after.labels) & (after.labels == label))
        order = np.argsort(-after.confidences[flipped], kind="stable")
        expected += [test_split.ids[row] for row in flipped[order][:SHOWN].tolist()]
    page = Page(impact.page)
    assert [caption[-1] for caption in page.captions] == expected
    assert any(one.gained > SHOWN for one in impact.tally.changes.classes), "some are left out"
    for caption in page.captions:
        row = test_split.ids.index(caption[-1])
        assert caption[0] == CLASSES[test_split.labels[row]]
        assert caption[1] == f"was: {before.names[row]}"
        assert caption[3] == f"now: {after.names[row]}"
        assert caption[4] == f"{100 * after.confidences[row]:.1f} %" + ("" if after.sure[row] else ", abstains")


def test_the_page_references_only_its_csv(impact: Impact) -> None:
    page = Page(impact.page)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    external = {one for one in page.references if not one.startswith(("#", "data:image/png;base64,"))}
    assert external == {"impact.csv"}


def test_a_table_gives_the_same_result_as_the_split(
    model: Classifier, live: Classifier, test_split: Examples, impact: Impact, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    parquet = tmp_path / "in.parquet"
    pq.write_table(to_table(test_split.ids, "test", test_split.labels, test_split.images, CONTRACT), parquet)
    for source in (parquet, write_csv(tmp_path / "in.csv", test_split)):
        found = write_impact(model, live, source, tmp_path / "out")
        assert rows_of(found) == rows_of(impact)
        assert np.array_equal(found.tally.changes.table, impact.tally.changes.table)
        assert found.tally.changes.classes == impact.tally.changes.classes
        assert source.name in Page(found.page).text


def test_a_table_without_ids_and_labels_gives_row_numbers_and_no_changes(
    model: Classifier, live: Classifier, test_split: Examples, impact: Impact, tmp_path: Path
) -> None:
    source = write_csv(tmp_path / "in.csv", test_split, ids=False, labels=False)
    found = write_impact(model, live, source, tmp_path / "out")
    rows, labelled = rows_of(found), rows_of(impact)
    assert [row["id"] for row in rows] == [str(test_split.ids.index(row["id"]) + 1) for row in labelled]
    assert {(row["label"], row["change"]) for row in rows} == {("", "")}
    assert [row["after_label"] for row in rows] == [row["after_label"] for row in labelled]
    counts = found.to_json()
    assert [counts[name] for name in ("fixed", "regressed", "moved", "chance")] == [None] * 4
    assert counts["classes"][3]["fixed"] is None
    text = Page(found.page).text
    assert "fixed" not in text
    assert "McNemar" not in text + str(found)


def test_unreadable_rows_are_counted_and_reported(
    model: Classifier, live: Classifier, test_split: Examples, impact: Impact, tmp_path: Path
) -> None:
    found = write_impact(model, live, write_csv(tmp_path / "in.csv", test_split, bad=3), tmp_path / "out")
    assert (found.tally.rejected, found.tally.changes.images) == (3, len(test_split.ids))
    reason = f"line {len(test_split.ids) + 2}: row: found 3 cells"
    assert reason in Page(found.page).text
    assert reason in str(found)
    assert "3 rows" in Page(found.page).text
    assert "rejected" not in str(impact)


def test_hostile_ids_and_file_names_are_escaped(
    model: Classifier, live: Classifier, test_split: Examples, tmp_path: Path
) -> None:
    ids = [HOSTILE[place % len(HOSTILE)] for place in range(len(test_split.ids))]
    source = write_csv(tmp_path / "<b>in<b>.csv", dataclasses.replace(test_split, ids=ids))
    found = write_impact(model, live, source, tmp_path / "out")
    cells = {row["id"] for row in rows_of(found)}
    assert cells == {inert(one) for one in HOSTILE}
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    page = Page(found.page)
    assert set(HOSTILE) == {caption[-1] for caption in page.captions}
    assert "x" not in page.references
    assert "<b>in<b>.csv" in page.text


def test_identical_answers_have_no_impact(model: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    twin = dataclasses.replace(model, tag="fashion-mlp:cccccccc")
    found = write_impact(twin, model, dataset, tmp_path)
    assert found.table.read_text() == ",".join(changed_schema(CLASSES).names) + "\n"
    page = Page(found.page)
    assert page.sections == ["classes"]
    assert f"0 of {found.tally.changes.images}" in page.text
    assert found.tally.changes.chance == 1.0


def test_the_page_is_next_to_the_report_and_each_links_to_the_other(
    model: Classifier, live: Classifier, dataset: Dataset, settings: Settings
) -> None:
    from components.evaluation.report import write_report

    found = write_impact(model, live, dataset, settings=settings)
    report = write_report(model, dataset, live, settings)
    assert found.page.parent == report.parent
    assert {"impact.html", "impact.csv"} <= set(Page(report).references)
    again = write_impact(model, live, dataset, settings=settings)
    assert "index.html" in Page(again.page).references


# --- errors ---


def keep_old(folder: Path) -> Callable[[], bool]:
    for name in ("impact.html", "impact.csv"):
        (folder / name).write_text("old")
    return lambda: (
        sorted((path.name, path.read_text()) for path in folder.iterdir() if path.name[:6] != "in.csv")
        == [
            ("impact.csv", "old"),
            ("impact.html", "old"),
        ]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "missing 784"),
        (",".join(PIXEL_COLUMNS) + "\n", "the table is empty"),
        (",".join(PIXEL_COLUMNS) + "\n1,2\n", "none of 1 rows is readable; 2: row: found 2 cells"),
        ("", "found no header"),
    ],
)
def test_an_invalid_table_leaves_the_outputs_unchanged(
    model: Classifier, live: Classifier, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "in.csv").write_text(content)
    unchanged = keep_old(tmp_path)
    with pytest.raises(InputError, match=message):
        write_impact(model, live, tmp_path / "in.csv", tmp_path)
    assert unchanged()


def test_an_input_is_not_overwritten(model: Classifier, live: Classifier, tmp_path: Path) -> None:
    unchanged = keep_old(tmp_path)
    with pytest.raises(InputError, match="overwrite the input"):
        write_impact(model, live, tmp_path / "impact.csv", tmp_path)
    with pytest.raises(InputError, match="no such file"):
        write_impact(model, live, tmp_path / "gone.csv", tmp_path)
    assert unchanged()


def test_a_missing_dataset_raises(model: Classifier, live: Classifier, dataset: Dataset, tmp_path: Path) -> None:
    gone = dataclasses.replace(dataset, path=tmp_path / "0123456789abcdef.json")
    with pytest.raises(DatasetError, match="no such dataset"):
        write_impact(model, live, gone, tmp_path)
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_images() -> None:
    """A thousand blocks flip to one label, each more confidently than the one before."""
    tally, rows = Tally(CLASSES), 50
    images = np.zeros((rows, 28, 28), np.uint8)
    for block in range(1000):
        lines = np.arange(rows) + block * rows + 2
        reject = RowReject(int(lines[-1]) + 1, "too short", b"1,2")
        probabilities = np.zeros((rows, 10), np.float32)
        probabilities[:, 3] = 0.5 + block / 2500
        after = Predictions(
            "fashion-mlp:aaaaaaaa", CONTRACT.classes, np.full(rows, 3, np.uint8), probabilities, np.ones(rows, bool)
        )
        before = dataclasses.replace(after, labels=np.zeros(rows, np.uint8))
        parsed = Block(lines, lines.astype(str).tolist(), images, None, (reject,))
        assert len(tally.add(parsed, before, after)) == rows
    kept = tally.most_confident()
    assert [len(flips) for flips in kept] == [0, 0, 0, SHOWN, *[0] * 6]
    assert [flip.id for flip in kept[3]] == [str(999 * rows + 2 + row) for row in range(SHOWN)], "ties: the first rows"
    assert all(flip.image.base is None for flip in kept[3]), "a view would keep its block"
    assert (tally.changes.flips, tally.rejected, tally.first_reject) == (50_000, 1000, "52: too short")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways(
    browser: "Browser", model: Classifier, live: Classifier, test_split: Examples, tmp_path: Path, scheme: str
) -> None:
    ids = ["a-name-without-an-end" * 20] * len(test_split.ids)
    source = write_csv(tmp_path / "in.csv", dataclasses.replace(test_split, ids=ids))
    logged: list[str] = []
    page = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page.on("console", lambda message: logged.append(message.text))
    for data in (source, write_csv(tmp_path / "unlabelled.csv", test_split, labels=False, bad=1)):
        page.goto(write_impact(model, live, data, tmp_path / "out").page.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert not logged


@pytest.mark.slow
def test_it_fits_on_paper(browser: "Browser", impact: Impact) -> None:
    page = browser.new_page(viewport={"width": 718, "height": 1047})
    page.goto(impact.page.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 718


# --- changed classes ---

MERGED: Shown = {"boot": ["boot"], "top": ["coat", "shirt"], "hat": ["hat"]}  # bag is removed


@pytest.fixture
def before_and_after(settings: Settings) -> tuple[Classifier, Classifier, Dataset]:
    before = model_of(settings.datasets_dir, FIRST, tag="shop-mlp:livelive")
    after = model_of(settings.datasets_dir, MERGED, became(FIRST, MERGED), dull={"top": 4.0})
    return before, after, dataset_of(settings.datasets_dir, after.card.dataset_version)


def test_a_merged_class_is_not_a_flip(before_and_after: tuple[Classifier, Classifier, Dataset], tmp_path: Path) -> None:
    before, after, data = before_and_after
    impact, test = write_impact(after, before, data, tmp_path / "out"), read_split(data, "test")
    was, now = predict(before, test.images).names, predict(after, test.images).names
    same = {("boot", "boot"), ("coat", "top"), ("shirt", "top")}
    flipped = [row for row, pair in enumerate(zip(was, now, strict=True)) if pair not in same]
    rows = rows_of(impact)
    assert 0 < len(flipped) < len(test.ids)
    assert [row["id"] for row in rows] == [test.ids[row] for row in flipped]
    assert [(row["before_name"], row["after_name"]) for row in rows] == [(was[row], now[row]) for row in flipped]
    true = [tuple(MERGED)[test.labels[row]] for row in flipped]
    right = [(was[row] in MERGED[name], now[row] == name) for row, name in zip(flipped, true, strict=True)]
    expected = ["fixed" if after else "regressed" if before else "moved" for before, after in right]
    assert [row["change"] for row in rows] == expected
    assert {"fixed", "regressed"} == set(expected)


def test_classes_of_both_models_are_counted(
    before_and_after: tuple[Classifier, Classifier, Dataset], tmp_path: Path
) -> None:
    before, after, data = before_and_after
    impact, test = write_impact(after, before, data, tmp_path / "out"), read_split(data, "test")
    was, now = predict(before, test.images).names, predict(after, test.images).names
    counts = {one.name: (one.before, one.after) for one in impact.tally.changes.classes}
    assert counts == {
        "boot": (was.count("boot"), now.count("boot")),
        "top (coat and shirt before)": (was.count("coat") + was.count("shirt"), now.count("top")),
        "hat": (0, now.count("hat")),
        "bag (gone)": (was.count("bag"), 0),
    }
    summary = "coat and shirt are top now; hat is new; bag is gone"
    assert f"classes: {summary}" in str(impact)
    assert impact.to_json()["class_changes"] == summary
    page = Page(impact.page)
    assert f"Classes: {summary}." in page.text
    assert "Now hat:" in page.text
    (first, *_) = (caption for caption in page.captions if caption[0] == "hat")
    assert first[3] == "now: hat"


def test_a_table_without_labels_works_with_changed_classes(
    before_and_after: tuple[Classifier, Classifier, Dataset], tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    before, after, data = before_and_after
    test = read_split(data, "test")
    table = to_table(test.ids, "test", test.labels, test.images, after.contract)
    pq.write_table(table.drop_columns(["label"]).replace_schema_metadata(None), tmp_path / "in.parquet")
    found = write_impact(after, before, tmp_path / "in.parquet", tmp_path / "out")
    whole = write_impact(after, before, data, tmp_path / "whole")
    assert np.array_equal(found.tally.changes.table, whole.tally.changes.table)
    assert {row["change"] for row in rows_of(found)} == {""}


def test_two_models_without_common_classes_raise(settings: Settings, tmp_path: Path) -> None:
    before = model_of(settings.datasets_dir, FIRST, tag="shop-mlp:livelive")
    after = model_of(settings.datasets_dir, ADDED)
    data = dataset_of(settings.datasets_dir, after.card.dataset_version)
    with pytest.raises(ModelError, match="livelive: different data contract: found 4 classes, expected 5"):
        write_impact(after, before, data, tmp_path)
