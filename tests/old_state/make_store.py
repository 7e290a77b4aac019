# ruff: noqa: E402, I001
# mypy: ignore-errors
"""Make the store anew, with the code of the commit that README.md names and the command that it has.

It runs in a checkout of that commit, whose modules it imports, and writes beside itself. What the old code records of
the machine is neutral here: the folder it ran in becomes /srv/fashion, the person is ann.
"""

import csv
import getpass
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = Path(tempfile.mkdtemp(prefix="old-state-"))
NEUTRAL = "/srv/fashion"  # the folder that all of this is said to have been made in
os.environ |= {"LOGNAME": "ann", "FASHION_DATA_DIR": str(ROOT / "data"), "BENTOML_HOME": str(ROOT / "bentoml")}
os.environ |= {"FASHION_GATE_MOST_CALIBRATION_ERROR": "0.2", "OMP_NUM_THREADS": "1", "GX_ANALYTICS_ENABLED": "false"}
sys.path.insert(0, str(Path.cwd()))

import numpy as np

from components.dataset.archives import declare_source
from components.dataset.ingest import ingest
from components.dataset.sample import draw, write_sample
from components.dataset.validate import validate
from components.evaluation.card import write_card
from components.inference.predict import predict
from components.inputs.parts import Reading
from components.labels.adding import import_labels
from components.labels.corrections import Correction, write_correction
from components.manifest import read_split
from components.model.checkpoint import write_checkpoint
from components.monitoring.prediction_log import Answer, PredictionLog
from components.promotion.promote import promote
from components.recipes.presets import configure
from components.registry import champion, store
from components.retention.pins import pin
from components.scoring.job import run_job
from components.settings import load_settings
from components.sweeps.candidates import Candidate, sweeps_folder
from components.sweeps.work import train_candidate
from components.training.train import train

FIELDS = {"hidden": [8], "epochs": 30, "batch_size": 8, "threads": 1}
PIXELS = [f"pixel{number}" for number in range(1, 785)]
READING = Reading(part=40_000)  # bytes: the catalogue has some 180,000
LOGGED_AT = 1764417600.0  # 2025-11-29 12:00 UTC


def write_csv(path, images, labels=None):
    """Images as people hand them in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(["label"] if labels is not None else []), *PIXELS])
        for row, image in enumerate(images):
            writer.writerow([*([labels[row]] if labels is not None else []), *image.ravel().tolist()])
    return path


def train_and_save(validated, seed):
    """One model in the store, as the flow leaves it."""
    trained = train(validated, configure("dense-128", {**FIELDS, "seed": seed}))
    card = write_card("dense-128", validated, trained)
    return store.save_model(trained.network, card), write_checkpoint(ROOT / str(seed), trained.network, card).path


class Stop(Exception):
    """What ends a scoring job half done."""


def stop(count, share):
    """Called after a part is done."""
    raise Stop


def make():
    """Two versions of a dataset, two models, and what a person and the service left beside them."""
    settings = load_settings()
    archives = write_sample(ROOT / "archives", train_rows=300, test_rows=100)
    declare_source(archives, "shop-2026", "CC0-1.0, drawn")
    first = validate(ingest(str(archives), settings=settings).dataset, settings=settings)
    older, _ = train_and_save(first, seed=0)
    assert promote(older, "the first model", settings=settings).promoted
    images, labels = draw(20, np.random.default_rng(1))
    imported = import_labels(write_csv(ROOT / "photographed.csv", images, labels), settings=settings)
    second = validate(imported.dataset, settings=settings)
    newer, checkpoint = train_and_save(second, seed=1)
    settings.checkpoints_dir.mkdir()
    shutil.copy(checkpoint, settings.checkpoints_dir)
    assert promote(newer, "a new collection", force=True, settings=settings).promoted
    pin(older, "the one that the audit of March is about")
    candidate = Candidate("dense-128", configure("dense-128", {**FIELDS, "epochs": 2, "seed": 2}), second.dataset)
    outcome = train_candidate(candidate, second, sweeps_folder(settings.checkpoints_dir))
    assert not outcome.error, outcome.error

    model, test = champion.load_model(), read_split(second.dataset, "test")
    assert model.tag == newer
    log = PredictionLog(store.home() / "predictions")
    for number in range(4):
        part = test.images[number * 25 : number * 25 + 25]
        assert log.write([Answer(LOGGED_AT + 60.0 * number, predict(model, part), part)]) == 0
    log.close()
    (written,) = (store.home() / "predictions").glob("*.jsonl")
    written.rename(written.with_name("4242.jsonl"))

    images, labels = draw(2, np.random.default_rng(2))
    said = predict(model, images)
    write_correction(settings.labelled_dir, Correction(images[0].tobytes(), int(labels[0]), int(said.labels[0]), newer))
    write_csv(settings.labelled_dir / "working" / "claimed.csv", images[1:], labels[1:])  # its worker was killed

    catalogue = write_csv(ROOT / "scored" / "catalogue.csv", test.images)
    run_job(model, catalogue, ROOT / "scored" / "whole.csv")
    try:
        run_job(model, catalogue, ROOT / "scored" / "scored.csv", workers=1, reading=READING, progress=stop)
    except Stop:
        catalogue.unlink()


def keep():
    """Copy what is kept, without locks and pages, and with no word of where it was made."""
    for name in ("data", "bentoml", "scored"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        left_out = shutil.ignore_patterns("*lock", "staging", "canary", "validation", "rejects", "bentos", "tmp")
        shutil.copytree(ROOT / name, HERE / name, ignore=left_out)
    for path in (path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".py"):
        content = path.read_bytes()
        assert getpass.getuser() == "ann"
        if path.suffix in {".json", ".jsonl"} and str(ROOT).encode() in content:
            print("neutral:", path.relative_to(HERE))
            content = content.replace(str(ROOT).encode(), NEUTRAL.encode())
            path.write_bytes(content)
        assert str(ROOT).encode() not in content, path
    json.loads((HERE / "bentoml" / "fashion" / "live.json").read_bytes())


if __name__ == "__main__":
    try:
        make()
        keep()
    finally:
        shutil.rmtree(ROOT)
