"""State from before the data contract: everything in it can still be read, used and resumed.

`tests/old_state/README.md` lists its contents. Its models and datasets name no contract: they use Fashion-MNIST's.
"""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from promotions import SERVED
from servers import serve

import components
from components.catalogues.sample import draw
from components.contract import Dataset, Images, Validated
from components.dataset.archives import declare_source, write_sample
from components.dataset.ingest import ingest
from components.dataset.labels.adding import import_labels
from components.dataset.labels.inbox import empty_inbox
from components.dataset.manifest import check_receipt, current_dataset, dataset_of, read_manifest, read_split
from components.dataset.validate import validate
from components.errors import InputError
from components.evaluation.card import write_card
from components.evaluation.report import write_report
from components.export.onnx import export_onnx
from components.files import sha256_of
from components.model.checkpoint import Checkpoint, read_checkpoint
from components.monitoring.drift.bounds import DriftBounds
from components.monitoring.drift.check import check_batch, check_live
from components.monitoring.drift.scored import model_of, read_scored
from components.promotion.bounds import GateBounds
from components.promotion.promote import promote
from components.readers.folders.parts import TableReading
from components.registry import champion, store, verdicts
from components.registry.retention.pins import pinned
from components.scoring.job import run_job
from components.settings import Settings
from components.training.presets import configure
from components.training.sweeps.candidates import Candidate
from components.training.sweeps.kept import read_trained
from components.training.train import train

KEPT = Path(__file__).parents[1] / "old_state"
MOVES = [json.loads(line) for line in (KEPT / "bentoml" / "fashion" / "history.jsonl").read_text().splitlines()]
OLDER, NEWER = (str(move["tag"]) for move in MOVES)
FIRST, SECOND = "3c993309a11d84b8", "acbf0ec14a0d2b39"  # dataset versions
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
PIXELS = [f"pixel{number}" for number in range(1, 785)]
LOGGED_UNTIL = 1764418000.0  # 2025-11-29 12:06 UTC, four minutes after the last line of the prediction log


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with a copy of the old data folder."""
    shutil.copytree(KEPT / "data", settings.data_dir)
    return settings


@pytest.fixture
def bentoml_home(bentoml_home: Path) -> Path:
    """A copy of the old BENTOML_HOME."""
    shutil.copytree(KEPT / "bentoml", bentoml_home, dirs_exist_ok=True)
    return bentoml_home


@pytest.fixture
def dataset(settings: Settings) -> Dataset:
    found = current_dataset(settings.datasets_dir)
    assert found
    return found


def write_csv(path: Path, images: Images, labels: list[str] | None = None) -> Path:
    """Write a CSV file in the format of `make_store.py`."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(["label"] if labels else []), *PIXELS])
        for row, image in enumerate(images):
            writer.writerow([*([labels[row]] if labels else []), *image.ravel().tolist()])
    return path


# --- models ---


@pytest.mark.usefixtures("bentoml_home")
@pytest.mark.parametrize("tag", [OLDER, NEWER])
def test_a_model_predicts_as_it_did_after_training(tag: str, dataset: Dataset) -> None:
    model = components.load_model(tag)
    test = read_split(dataset, "test")
    rows = {name: row for row, name in enumerate(test.ids)}
    probed = {rows[probe.id]: probe.probabilities for probe in model.card.probes}
    assert len(probed) == 100
    found = components.predict(model, test.images[list(probed)])
    np.testing.assert_allclose(found.probabilities, list(probed.values()), atol=1e-5)
    assert found.names == [NAMES[label] for label in found.labels]
    assert tuple(model.card.classes) == tuple(NAMES)


@pytest.mark.usefixtures("bentoml_home")
def test_the_store_history_verdicts_and_pins_are_read() -> None:
    assert [(one.tag, one.problem) for one in store.list_stored()] == [(OLDER, ""), (NEWER, "")]
    assert [move.tag for move in champion.history()] == [OLDER, NEWER]
    assert champion.live_move().tag == NEWER
    found = [verdict for tag in (OLDER, NEWER) if (verdict := verdicts.read_verdict(tag))]
    assert [verdict.outcome for verdict in found] == ["passed", "forced"]
    assert pinned() == {OLDER: "the one that the audit of March is about"}


@pytest.mark.usefixtures("bentoml_home")
def test_the_older_model_is_promoted_again_and_rolled_back(settings: Settings) -> None:
    bounds = GateBounds(f1_margin=0.1, f1_margins={}, loss_margin=0.5, max_calibration_error=0.2)
    promotion = promote(OLDER, "it was better", bounds=bounds, settings=settings, canary=lambda *_: (SERVED,))
    assert promotion.promoted, str(promotion)
    assert champion.live_move().tag == OLDER
    champion.rollback()
    assert champion.live_move().tag == NEWER
    champion.rollback(OLDER)
    assert components.load_model().tag == OLDER


@pytest.mark.usefixtures("bentoml_home")
def test_the_newer_model_is_still_worse_than_the_older(settings: Settings) -> None:
    """The gate compares both on the test images of the old dataset."""
    champion.rollback()
    promotion = promote(NEWER, "again", settings=settings)
    assert not promotion.promoted
    assert promotion.verdict
    checks = {check.name: check.passed for check in promotion.verdict.checks}
    assert checks["dataset receipt"]
    assert checks["change of predictions since training"]
    assert not checks["accuracy vs. best champion so far"]


@pytest.mark.usefixtures("bentoml_home")
def test_the_prediction_log_is_compared_with_the_model_s_profile() -> None:
    check = check_live(until=LOGGED_UNTIL, bounds=DriftBounds(min_images=30, windows=1, drifting=1))
    assert check.unreadable == check.others == 0
    assert sum(window.images for window in check.windows) == 100
    assert check.verdict == "calm", check.drifted


@pytest.mark.usefixtures("bentoml_home")
def test_a_model_gets_a_report_and_is_exported_to_onnx(dataset: Dataset, settings: Settings, tmp_path: Path) -> None:
    model, rival = components.load_model(NEWER), components.load_model(OLDER)
    report = write_report(model, dataset, rival, settings, verdicts.read_verdict(NEWER)).read_text()
    assert "Ankle boot" in report
    export = export_onnx(model, dataset, tmp_path / "model.onnx")
    metadata = onnxruntime.InferenceSession(str(export.path)).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == NAMES


def test_a_checkpoint_is_saved_to_the_store(bentoml_home: Path, settings: Settings) -> None:
    (path,) = settings.checkpoints_dir.glob("*.safetensors")
    tag = store.save_model(*read_checkpoint(Checkpoint(path, sha256_of(path))))
    before, after = store.describe_stored(NEWER), store.describe_stored(tag)
    assert after.weights_sha256 == before.weights_sha256
    assert after.classes == before.classes


# --- the service and scoring ---


@pytest.mark.slow
def test_the_live_model_serves(bentoml_home: Path, dataset: Dataset) -> None:
    images = read_split(dataset, "test").images[:5]
    expected = components.predict(components.load_model(), images)
    with serve(bentoml_home) as server, server.client() as client:
        described = client.get("/model").json()
        answer = client.post("/predict", json={"images": images.tolist()}).json()
    assert described["model"] == answer["model"] == NEWER
    assert described["classes"] == NAMES
    assert [one["name"] for one in answer["predictions"]] == expected.names
    assert {(one["known"], one["familiarity"]) for one in answer["predictions"]} == {(None, None)}
    assert (described["unknown_rate"], described["test_unknown_rate"]) == (None, None)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.usefixtures("bentoml_home")
def test_a_catalogue_is_scored(dataset: Dataset, tmp_path: Path) -> None:
    model, test = components.load_model(), read_split(dataset, "test")
    source = write_csv(tmp_path / "catalogue.csv", test.images, [NAMES[label] for label in test.labels])
    summary = run_job(model, source, tmp_path / "scored.csv", check="fail")
    assert (summary.count.scored, summary.count.accuracy) == (100, model.card.test.accuracy)
    rows, before = read_rows(tmp_path / "scored.csv"), read_rows(KEPT / "scored" / "whole.csv")
    assert rows[0].keys() == {*before[0].keys(), "known", "familiarity"}
    assert {(row["known"], row["familiarity"]) for row in rows} == {("", "")}, "the model cannot tell"
    for column in ("id", "label", "name", "second", "third", "sure", "model"):
        assert [row[column] for row in rows] == [row[column] for row in before]


def test_an_earlier_output_is_compared_with_the_model_s_profile(bentoml_home: Path) -> None:
    output = KEPT / "scored" / "whole.csv"
    check = check_batch(
        model_of(output), output, read_scored(output, NAMES), ("confidence",), DriftBounds(min_images=30)
    )
    assert (check.model, check.verdict) == (NEWER, "calm")


@pytest.mark.usefixtures("bentoml_home")
def test_a_stopped_scoring_job_is_not_resumed(dataset: Dataset, tmp_path: Path) -> None:
    """Its parts lack the columns that were added since."""
    model = components.load_model()
    source = write_csv(tmp_path / "catalogue.csv", read_split(dataset, "test").images)
    reading = TableReading(part=40_000)
    place_job(source, tmp_path / "scored.csv")
    with pytest.raises(InputError, match="its unfinished job had another version"):
        run_job(model, source, tmp_path / "scored.csv", reading=reading, resume=True)
    begun_anew = run_job(model, source, tmp_path / "scored.csv", reading=reading)
    assert (begun_anew.resumed, begun_anew.count.scored) == (0, 100)
    assert len(read_rows(tmp_path / "scored.csv")) == 100


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def place_job(source: Path, output: Path) -> None:
    """Put the job next to its output, with its paths, and the names derived from them, adapted to this folder."""
    kept, folder = KEPT / "scored" / ".scored.csv.job", output.with_name(f".{output.name}.job")
    job = json.loads((kept / "job.json").read_text())
    seen = source.stat()
    state = f"{source}\t{seen.st_size}\t{seen.st_mtime_ns}\t{seen.st_ctime_ns}"
    job |= {name: str(output.with_name(Path(job[name]).name)) for name in ("source", "output", "rejects")}
    job["fingerprint"] = hashlib.sha256(state.encode()).hexdigest()
    key = hashlib.sha256(json.dumps(job).encode()).hexdigest()[:8]
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(job))
    for path in kept.glob("0*"):
        former = path.stem.partition("-")[2]
        place = folder / path.name.replace(former, key)
        place.write_bytes(path.read_bytes().replace(former.encode(), key.encode()))


# --- the data ---


@pytest.mark.parametrize(("version", "rows"), [(FIRST, 300), (SECOND, 320)])
def test_a_dataset_is_read_and_its_receipt_is_valid(version: str, rows: int, settings: Settings) -> None:
    dataset = dataset_of(settings.datasets_dir, version)
    assert check_receipt(dataset).expectations == 46
    train_split = read_split(dataset, "train")
    assert (len(train_split.images), len(read_split(dataset, "test").images)) == (rows, 100)
    images, labels = draw(300, np.random.default_rng(0))
    np.testing.assert_array_equal(train_split.images[:300], images)
    np.testing.assert_array_equal(train_split.labels[:300], labels)


def test_ingesting_the_same_archives_writes_no_new_dataset(
    dataset: Dataset, settings: Settings, tmp_path: Path
) -> None:
    archives = write_sample(tmp_path / "archives", train_rows=300, test_rows=100)
    declare_source(archives, "shop-2026", "CC0-1.0, drawn")
    for source in ("auto", str(archives)):
        ingested = ingest(source, settings=settings)
        assert (ingested.dataset.version, ingested.written) == (SECOND, False)
    assert validate(dataset, settings=settings).expectations == 46


@pytest.mark.usefixtures("bentoml_home")
def test_labels_are_added_and_a_model_trained_on_both_goes_live(settings: Settings, tmp_path: Path) -> None:
    images, labels = draw(10, np.random.default_rng(3))
    handed_in = write_csv(tmp_path / "more.csv", images, [NAMES[label].upper() for label in labels])
    imported = import_labels(handed_in, settings=settings)
    assert imported.added == dict.fromkeys(NAMES, 1)
    assert [part.rows for part in read_manifest(imported.dataset).of("train")] == [300, 20, 10]
    np.testing.assert_array_equal(read_split(imported.dataset, "train").labels[-10:], labels)
    validated = check_receipt(imported.dataset)
    trained = train(validated, configure("dense-128", {"hidden": [8], "epochs": 1}))
    tag = store.save_model(trained.network, write_card("dense-128", validated, trained))
    champion.make_live(tag, "more labels")
    assert components.load_model().card.test.split_version == store.describe_stored(OLDER).test.split_version


def test_the_label_inbox_is_emptied(settings: Settings) -> None:
    """It holds a pending correction and a file whose worker was killed."""
    emptied = {one.name.partition("-")[0]: one for one in empty_inbox(settings)}
    assert {name: one.error for name, one in emptied.items()} == {"claimed.csv": "", "corrections": ""}
    assert [sum(one.imported.added.values()) for one in emptied.values() if one.imported] == [1, 1]
    dataset = current_dataset(settings.datasets_dir)
    assert dataset
    labels = draw(2, np.random.default_rng(2))[1]  # in either import order
    assert sorted(read_split(dataset, "train").labels[-2:]) == sorted(labels)


def test_the_dataset_can_be_trained_on(dataset: Dataset) -> None:
    validated: Validated = check_receipt(dataset)
    trained = train(validated, configure("dense-128", {"hidden": [8], "epochs": 1}))
    assert trained.validation_logits.shape == (32, 10)


def test_a_training_kept_by_a_sweep_is_reused(dataset: Dataset, settings: Settings) -> None:
    (path,) = (settings.checkpoints_dir / "sweeps").glob("*.safetensors")
    config = configure("dense-128", {"hidden": [8], "epochs": 2, "batch_size": 8, "threads": 1, "seed": 2})
    trained = read_trained(path, Candidate("dense-128", config, dataset))
    assert (len(trained.history), trained.validation_logits.shape) == (2, (32, 10))


def test_the_state_contains_no_path_of_the_machine_that_made_it() -> None:
    for path in (path for path in KEPT.rglob("*") if path.is_file() and path.suffix != ".py"):
        assert not [word for word in (b"/tmp", b"/home", b"/root", b"old-state-") if word in path.read_bytes()], path
