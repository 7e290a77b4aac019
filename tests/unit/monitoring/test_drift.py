"""Drift of traffic from the test images: what counts as drift, what does not, and what is too little to decide."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logged import write_lines
from trafficked import calm, images, model, profile  # noqa: F401, fixtures

from benchmarks.traffic import (
    SHOES,
    change_images,
)
from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Dataset, Images, ModelCard, Profile
from components.errors import InputError, ModelError, SettingsError
from components.evaluation.profile import NOT_CHECKED, Seen, make_profile, to_seen
from components.model.classifier import Classifier
from components.monitoring.drift.bounds import DriftBounds
from components.monitoring.drift.check import DriftCheck, check_batch, check_live
from components.monitoring.drift.compare import UNKNOWN, Feature, compare
from components.monitoring.drift.episode import Episode, find_news, read_episode, write_episode
from components.monitoring.drift.page import write_page
from components.monitoring.drift.scored import model_of, read_scored
from components.monitoring.drift.windows import HOUR, Window, judge_windows, weigh
from components.monitoring.reading import read_log
from components.registry import champion, store
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import Trained
from fashion.cli import monitoring

NOW = 1.7e9
BOUNDS = DriftBounds()


def drifted(profile: Profile, seen: Seen) -> set[str]:
    return {feature.name for feature in compare(profile, CLASSES, seen, BOUNDS) if feature.drifted}


def at(seen: Seen, since: float, until: float) -> Seen:
    """Return the rows, evenly spread over a period."""
    moved = seen.copy()
    moved["time"] = np.linspace(since, until, len(seen) + 1)[1:]
    return moved


def test_images_of_the_same_kind_do_not_drift(profile: Profile, calm: Seen) -> None:
    assert drifted(profile, calm) == set()


@pytest.mark.parametrize("kind", ["brightness -20 %", "blurred, sigma 1 pixel", "moved down by 2 pixels", "inverted"])
def test_changed_images_drift(profile: Profile, model: Classifier, images: Images, kind: str) -> None:
    changed = change_images(images[600:])[kind]
    assert drifted(profile, to_seen(predict(model, changed), changed)) - {"classes"}


def test_other_classes_move_only_the_class_distribution(profile: Profile, calm: Seen) -> None:
    some = calm[np.isin(calm["label"], [CLASSES.index("Bag"), CLASSES.index("Sandal")])]
    found = {feature.name: feature for feature in compare(profile, CLASSES, some, BOUNDS)}
    assert [name for name, feature in found.items() if feature.drifted] == ["classes"]
    assert found["classes"].distance == pytest.approx(0.8, abs=0.05)


def test_more_shoes_at_night_are_not_drift(profile: Profile, calm: Seen) -> None:
    shoes = np.isin(calm["label"], SHOES)
    night = np.concatenate([calm[shoes], calm[~shoes][: np.count_nonzero(shoes) * 2 // 3]])  # 60 % instead of 30 %
    assert drifted(profile, night) == set()


def test_an_insignificant_difference_is_not_drift(profile: Profile, calm: Seen) -> None:
    """With 40 images, some feature often exceeds its bound."""
    random = np.random.default_rng(0)
    windows = [compare(profile, CLASSES, random.choice(calm, 40, replace=False), BOUNDS) for _ in range(40)]
    assert sum(feature.distance > feature.bound for window in windows for feature in window) > 20
    assert sum(feature.drifted for window in windows for feature in window) <= 1


def test_a_small_difference_is_not_drift_however_significant(profile: Profile, calm: Seen) -> None:
    many = np.tile(calm, 200)
    many["mean"] *= 1.02
    brightness = next(feature for feature in compare(profile, CLASSES, many, BOUNDS) if feature.name == "mean")
    assert brightness.distance <= brightness.bound
    assert not brightness.drifted


def test_more_unknown_images_are_drift(profile: Profile, calm: Seen) -> None:
    odd = calm.copy()
    odd["known"][::3] = 0
    assert drifted(profile, odd) == {UNKNOWN}
    feature = next(one for one in compare(profile, CLASSES, odd, BOUNDS) if one.name == UNKNOWN)
    assert feature.now == pytest.approx((odd["known"] == 0).mean())
    assert feature.distance == pytest.approx(feature.now - feature.reference, abs=1e-6)
    assert drifted(profile, calm) == set()


def test_unknown_images_are_left_out_if_the_profile_or_an_image_does_not_tell_them(
    profile: Profile, calm: Seen
) -> None:
    old = dataclasses.replace(profile, unknown=())
    unchecked = calm.copy()
    unchecked["known"][7] = NOT_CHECKED
    for reference, seen in ((old, calm), (profile, unchecked)):
        found = compare(reference, CLASSES, seen, BOUNDS)
        assert [one.name for one in found] == ["mean", "ink", "edge", "confidence", "not sure", "classes"]
        assert found[0].max_chance == pytest.approx(BOUNDS.chance / 6)
    assert make_profile(unchecked, len(CLASSES)).unknown == ()


def test_correlated_images_carry_less_information(profile: Profile, calm: Seen) -> None:
    ordered = np.sort(calm, order=["label", "mean"])
    random = np.random.default_rng(0)
    uploads = np.concatenate([ordered[first : first + 20] for first in random.integers(0, len(ordered) - 20, 20)])
    shuffled = random.permutation(uploads)
    correlated, independent = (compare(profile, CLASSES, seen, BOUNDS)[0] for seen in (uploads, shuffled))
    assert correlated.distance == pytest.approx(independent.distance)
    assert correlated.clumps > 3 * independent.clumps
    assert correlated.chance > independent.chance


def test_a_class_without_reference_images_is_compared_with_all_of_them(calm: Seen) -> None:
    bags = calm["label"] == CLASSES.index("Bag")
    found = compare(make_profile(calm[~bags], len(CLASSES)), CLASSES, calm[bags], BOUNDS)
    assert all(np.isfinite([feature.distance, feature.chance]).all() for feature in found)
    assert next(feature for feature in found if feature.name == "classes").drifted


def test_repeated_images_count_once(profile: Profile, calm: Seen) -> None:
    """A health check every second, with and without traffic."""
    check = np.repeat(calm[:1], 3600)
    both = at(np.concatenate([check[:1800], calm[:400], check[1800:]]), NOW - HOUR, NOW)
    (window,) = judge_windows(profile, CLASSES, both, NOW, 24, BOUNDS)
    assert (window.lines, window.images, window.verdict) == (4000, 400, "calm")
    (window,) = judge_windows(profile, CLASSES, at(check, NOW - HOUR, NOW), NOW, 24, BOUNDS)
    assert (window.lines, window.images, window.verdict) == (3600, 1, "too few")


def test_a_window_spans_as_many_hours_as_it_needs(profile: Profile, calm: Seen) -> None:
    traffic = [at(calm[:50], NOW - 10 * HOUR, NOW - 9 * HOUR), at(calm[:240], NOW - 5 * HOUR, NOW - HOUR)]
    busy = at(calm[300:550], NOW - HOUR, NOW)
    windows = judge_windows(profile, CLASSES, np.concatenate([*traffic, busy]), NOW, 24, BOUNDS)
    hours = [((NOW - window.until) / HOUR, (NOW - window.since) / HOUR) for window in windows]
    assert hours == [(0, 1), (1, 5), (5, 24)]
    assert [window.verdict for window in windows] == ["calm", "calm", "too few"]
    assert [window.images for window in windows] == [250, 240, 50]


def test_the_verdict_is_drift_if_enough_of_the_newest_windows_drift(profile: Profile, calm: Seen) -> None:
    odd = calm.copy()
    odd["mean"] += 60

    def look(*hours: Seen) -> str:
        """Return the verdict; hours are given newest first."""
        parts = [at(hour[:250], NOW - HOUR * (back + 1), NOW - HOUR * back) for back, hour in enumerate(hours)]
        return weigh(judge_windows(profile, CLASSES, np.concatenate(parts[::-1]), NOW, 24, BOUNDS), BOUNDS)

    assert look(odd, odd, calm, calm) == "calm"
    assert look(odd, calm, odd, odd) == "drift"
    assert look(odd, odd, odd) == "drift"
    assert look(odd, odd) == "calm"
    assert look(calm, calm, odd, odd, odd) == "calm"
    assert look(odd[:10]) == "too few"


def test_the_command_reports_how_many_windows_must_drift(
    profile: Profile, calm: Seen, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = at(calm[:250], NOW - HOUR, NOW)
    odd["mean"] += 60
    windows = judge_windows(profile, CLASSES, odd, NOW, 24, BOUNDS)
    monitoring._print_check(
        DriftCheck("a:1", CONTRACT, "log", "now", windows, weigh(windows, BOUNDS), BOUNDS.drifting, BOUNDS.windows),
        None,
    )
    assert capsys.readouterr().out.startswith("calm (1 of 4 windows drifted, 3 must): a:1, log\n")


def test_the_log_is_read_as_written(tmp_path: Path, model: Classifier, images: Images, calm: Seen) -> None:
    write_lines(tmp_path, images[600:640], model, NOW - 60, NOW)
    found = read_log(tmp_path, model.tag, len(CLASSES), NOW - HOUR, NOW)
    expected = at(calm[:40], NOW - 60, NOW)
    assert (found.others, found.unreadable) == (0, 0)
    np.testing.assert_allclose(found.seen["time"], expected["time"], atol=2e-3)
    np.testing.assert_allclose(found.seen["confidence"], expected["confidence"], atol=1e-5)  # other order of summation
    for name in ("label", "sure", "known", "hash", "mean", "ink", "edge"):
        assert (found.seen[name] == expected[name]).all(), name


LINE = {
    "time": "2023-11-14T22:13:19.000+00:00",
    "model": "fashion-mlp:abcdefgh",
    "label": 3,
    "confidence": 0.5,
    "sure": True,
    "mean": 1.0,
    "ink": 0.5,
    "edge": 2,
    "hash": "5f0c1d2e3a4b5c6d",
}


def test_valid_lines_of_a_damaged_log_are_read(tmp_path: Path) -> None:
    good = json.dumps(LINE)
    wrong = [
        {**LINE, "label": 10},
        {**LINE, "sure": 1},
        {**LINE, "known": 1},
        {**LINE, "mean": "1"},
        {**LINE, "time": 5},
        {**LINE, "hash": "x"},
    ]
    without = [{name: LINE[name] for name in LINE if name != left} for left in LINE]
    bad = ["not json", "[]", "x" * 100_000, *map(json.dumps, [*wrong, *without])]
    (tmp_path / "1.jsonl").write_text("\n".join([good, *bad, good]) + "\n" + good[:50])  # the last is being written
    (tmp_path / "2.jsonl.1").write_text(good + "\n")
    (tmp_path / "other.txt").write_text(good + "\n")
    found = read_log(tmp_path, "fashion-mlp:abcdefgh", len(CLASSES), NOW - HOUR, NOW)
    assert (len(found.seen), found.unreadable) == (3, len(bad))


def test_lines_that_do_not_tell_unknown_images_are_read(tmp_path: Path) -> None:
    lines = [LINE, {**LINE, "known": None}, {**LINE, "known": True}, {**LINE, "known": False}]
    (tmp_path / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_log(tmp_path, "fashion-mlp:abcdefgh", len(CLASSES), NOW - HOUR, NOW)
    assert (found.seen["known"].tolist(), found.unreadable) == ([NOT_CHECKED, NOT_CHECKED, 1, 0], 0)


def test_only_the_requested_period_and_model_are_read(tmp_path: Path) -> None:
    other = {**LINE, "model": "fashion-mlp:bbbbbbbb"}
    late = {**LINE, "time": "2023-11-14T22:13:21.000+00:00"}
    (tmp_path / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (LINE, other, late)))
    found = read_log(tmp_path, "fashion-mlp:abcdefgh", len(CLASSES), NOW - HOUR, NOW)
    assert (len(found.seen), found.others) == (1, 1)
    assert len(read_log(tmp_path / "nowhere", "fashion-mlp:abcdefgh", len(CLASSES), NOW - HOUR, NOW).seen) == 0


def test_a_file_renamed_while_reading_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log rotates between the two listings of the folder."""
    (tmp_path / "1.jsonl").write_text(json.dumps(LINE) + "\n")
    globbed = Path.glob

    def rotate_then_glob(folder: Path, pattern: str) -> Iterator[Path]:
        found = list(globbed(folder, pattern))
        if len(found) == 1:
            found[0].rename(tmp_path / "1.jsonl.1")
            (tmp_path / "1.jsonl").write_text(json.dumps(LINE) + "\n")
        return iter(found)

    monkeypatch.setattr(Path, "glob", rotate_then_glob)
    assert len(read_log(tmp_path, "fashion-mlp:abcdefgh", len(CLASSES), NOW - HOUR, NOW).seen) == 2


@pytest.fixture
def live(bentoml_home: Path, trained: Trained, card: ModelCard, settings: Settings) -> Classifier:
    tag = store.save_model(trained.network, card)
    champion.make_live(tag, "a test")
    return champion.load_model()


def test_traffic_is_compared_with_the_live_model_s_test_images(live: Classifier, images: Images) -> None:
    folder = store.home() / "predictions"
    write_lines(folder, images[600:900], live, NOW - HOUR, NOW)
    check = check_live(until=NOW)
    assert (check.model, check.verdict, check.source) == (live.tag, "calm", str(folder))
    assert [window.images for window in check.windows] == [300]
    assert json.loads(json.dumps(check.to_json()))["windows"][0]["verdict"] == "calm"
    write_lines(folder, 255 - images[:900], live, NOW, NOW + 3 * HOUR)
    check = check_live(until=NOW + 3 * HOUR)
    assert (check.verdict, len(check.judged)) == ("drift", 4)
    assert "mean" in check.drifted


def test_without_traffic_the_verdict_is_too_few(live: Classifier) -> None:
    check = check_live()
    assert (check.verdict, check.windows, check.repeats) == ("too few", (), 0.0)


def test_a_model_without_a_profile_raises(
    bentoml_home: Path, trained: Trained, card: ModelCard, settings: Settings
) -> None:
    champion.make_live(store.save_model(trained.network, dataclasses.replace(card, profile=None)), "a test")
    with pytest.raises(
        ModelError, match=r"has no profile: it was stored by an earlier version\. Train .*'fashion train'"
    ):
        check_live()


def test_the_check_needs_the_prediction_log(live: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_PREDICTION_LOG", "off")
    with pytest.raises(SettingsError, match="needs the prediction log"):
        check_live()


def test_the_model_card_has_the_profile_of_the_test_images(card: ModelCard) -> None:
    assert card.profile is not None
    assert [sum(map(sum, counts)) for counts in card.profile.counts.values()] == [200] * 4
    assert sum(card.profile.not_sure) == 200 - round(200 * card.test.coverage)
    assert card.known is not None
    assert sum(card.profile.unknown) == round(200 * card.known.test_refused)


def test_a_batch_is_one_window(live: Classifier, calm: Seen) -> None:
    odd = calm.copy()
    odd["confidence"] = 0.3
    for seen, verdict in ((calm, "calm"), (odd, "drift"), (calm[:20], "too few")):
        check = check_batch(live.tag, Path("batch.csv"), [seen[:300], seen[300:]], ("confidence",))
        assert (check.verdict, check.windows[0].lines) == (verdict, len(seen))


def made(verdicts: str, model: str = "fashion-mlp:abcdefgh", when: str = "2026-11-21T09:00:00+00:00") -> DriftCheck:
    """Return a check with the given windows, newest first: drifting (d) or calm (c)."""
    odd = Feature("mean", 70, 90, 0.3, 0.1, 0.0, 0.001, 1.0, (1.0,), (1.0,))
    fine = dataclasses.replace(odd, distance=0.01, chance=0.5)
    windows = tuple(Window(0, 1, 300, 300, (odd if one == "d" else fine,)) for one in verdicts)
    return DriftCheck(model, CONTRACT, "log", when, windows, weigh(windows, BOUNDS), 3, 4)


def test_start_and_end_of_a_drift_are_reported_once() -> None:
    reported, episode = [], None
    for verdicts in (
        "cccc",
        "dccc",
        "ddcc",
        "dddc",
        "dddd",
        "cddd",
        "ccdd",
        "dccd",
        "dddc",
        "cddd",
        "",
        "ccdd",
        "cccc",
        "cccc",
    ):
        news, episode = find_news(episode, made(verdicts))
        reported.append([one.what for one in news])
    assert reported == [[], [], [], ["detected"], [], [], [], [], [], [], [], [], ["ended"], []]
    assert episode is None


def test_a_new_live_model_ends_the_drift() -> None:
    _, episode = find_news(None, made("dddd"))
    news, after = find_news(episode, made("", "fashion-mlp:bbbbbbbb"))
    assert [(one.what, one.episode.model) for one in news] == [("ended", "fashion-mlp:abcdefgh")]
    assert after is None
    news, after = find_news(episode, made("dddd", "fashion-mlp:bbbbbbbb"))
    assert [one.what for one in news] == ["ended", "detected"]
    assert after is not None
    assert after.model == "fashion-mlp:bbbbbbbb"


def test_an_episode_is_stored_between_checks(tmp_path: Path) -> None:
    path = tmp_path / "data" / "drift.json"
    assert read_episode(path) is None
    episode = Episode("fashion-mlp:abcdefgh", "2026-11-21T09:00:00+00:00", ("mean", "ink"))
    for kept in (episode, None):
        write_episode(path, kept)
        assert read_episode(path) == kept
    path.write_text("{")
    assert read_episode(path) is None


def test_the_page_says_what_moved_and_what_to_do(tmp_path: Path, live: Classifier, calm: Seen) -> None:
    odd = calm.copy()
    odd["mean"] += 60
    page = tmp_path / "drift.html"
    write_page(check_batch(live.tag, Path("<b>.csv"), [odd]), page)
    text = page.read_text()
    assert text.count("<svg") == 7
    for part in ("Traffic has drifted", "&lt;b&gt;.csv", live.tag, "Content-Security-Policy"):
        assert part in text
    for part in ("What was compared", "<li>brightness: expected ", "How sure", "What to do.</b> Look at"):
        assert part in text
    assert "in at most 1&nbsp;% of cases" in text
    assert "<b>.csv" not in text
    write_page(check_live(), page)
    assert "Too few images to decide" in page.read_text()


def test_the_page_shows_test_images_with_the_expected_and_the_found_value(
    tmp_path: Path, live: Classifier, calm: Seen, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = calm.copy()
    odd["mean"] += 60
    page = tmp_path / "drift.html"
    write_page(check_batch(live.tag, Path("batch.csv"), [odd]), page)
    assert "data:image/png" not in page.read_text(), "its dataset is not in this data folder"
    monkeypatch.setenv("FASHION_DATA_DIR", str(dataset.path.parent.parent))
    write_page(check_batch(live.tag, Path("batch.csv"), [odd]), page)
    text = page.read_text()
    assert text.count("data:image/png") == 12
    assert "The prediction log holds no images" in text
    assert text.index("Brightness <span") < text.index("Non-black share"), "what drifted comes first"


def test_the_page_says_what_to_do_about_unknown_images(tmp_path: Path, live: Classifier, calm: Seen) -> None:
    odd = calm.copy()
    odd["known"][::3] = 0
    page = tmp_path / "drift.html"
    write_page(check_batch(live.tag, Path("batch.csv"), [odd]), page)
    text = page.read_text()
    assert "<li>unknown images: expected " in text
    assert "unlike everything that the model was trained on: look at those first" in text
    assert "in the last 3 rows, shares" in text


def test_the_page_of_live_traffic_counts_the_drifted_windows(tmp_path: Path) -> None:
    write_page(made("cddd"), tmp_path / "drift.html")
    text = (tmp_path / "drift.html").read_text()
    assert "Nothing in the newest window." in text
    assert "Over the newest 4 windows: brightness." in text
    assert "3 of the newest 4 windows drifted; it takes 3 of 4 for the verdict" in text
    write_page(made("cccc"), tmp_path / "drift.html")
    text = (tmp_path / "drift.html").read_text()
    assert "Traffic has not drifted" in text
    assert "What to do.</b> Nothing." in text


def test_more_drifting_windows_than_windows_raise(monkeypatch: pytest.MonkeyPatch, live: Classifier) -> None:
    monkeypatch.setenv("FASHION_DRIFT_DRIFTING", "5")
    with pytest.raises(
        SettingsError, match="FASHION_DRIFT_DRIFTING: found 5, expected at most 4, the number of windows"
    ):
        check_live()


@pytest.mark.parametrize("form", [".csv", ".parquet", ".jsonl"])
def test_a_scored_file_tells_unknown_images_unless_it_is_old(tmp_path: Path, form: str) -> None:
    cells = {"label": [3, 9, 1], "name": [CLASSES[3], CLASSES[9], CLASSES[1]], "confidence": [0.5, 0.75, 1.0]}
    cells |= {"sure": [True, False, True], "model": ["a:1"] * 3}
    for known, expected in ((None, [NOT_CHECKED] * 3), ([True, False, None], [1, 0, NOT_CHECKED])):
        table = pa.table(cells if known is None else {**cells, "known": known})
        path = tmp_path / f"scored{form}"
        if form == ".parquet":
            pq.write_table(table, path)
        elif form == ".csv":
            rows = [
                [("no", "yes")[cell] if isinstance(cell, bool) else cell for cell in row.values()]
                for row in table.to_pylist()
            ]
            lines = [table.column_names, *[["" if cell is None else str(cell) for cell in row] for row in rows]]
            path.write_text("".join(",".join(line) + "\n" for line in lines))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        (seen,) = read_scored(path, CLASSES)
        assert seen["known"].tolist() == expected
        assert seen["sure"].tolist() == cells["sure"]


def test_other_files_than_outputs_of_score_raise(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.csv", "label,pixel1\n1,2\n", "not an output of 'fashion score'"),
        ("a.parquet", "nonsense", "not an output of 'fashion score'"),
        ("a.txt", "", "expected a name that ends in"),
        ("b.csv", "label,name,confidence,sure,model\n", "no row was scored"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message):
            model_of(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        model_of(tmp_path / "nowhere.csv")
