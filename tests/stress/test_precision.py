"""A trained flagship scores the whole test split with integer products as in float32."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.score_inputs import write_parquet
from components.contract import Validated
from components.dataset.archives import has_archives, write_sample
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.errors import SettingsError
from components.evaluation.card import write_card
from components.registry import store
from components.scoring import int8
from components.scoring.precision import use
from components.scoring.predict import predict
from components.settings import CHECKOUT, Settings
from components.training.presets import configure
from components.training.train import train

pytestmark = pytest.mark.slow
SHORT = {"epochs": 2}
NAMED = Path(os.environ.get("FASHION_SOURCE", "auto"))


def score(source: Path, output: Path, model: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "fashion", "score", str(source), str(output), "--model", model, "--check", "off"]
    done = subprocess.run([*command, "--json", *options], cwd=CHECKOUT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def test_the_whole_test_split_is_within_the_bound(settings: Settings, tmp_path: Path, bentoml_home: Path) -> None:
    source = NAMED.resolve() if has_archives(NAMED) else write_sample(tmp_path / "sample")
    dataset = ingest(str(source), settings=settings).dataset
    receipt = Validated(dataset, expectations=0, docs=Path(), checked_at="")
    trained = train(receipt, configure("flagship", SHORT))
    tag = store.save_model(trained.network, write_card("flagship", receipt, trained))
    model, test = store.load_stored(tag), read_split(dataset, "test")
    try:
        integers = use(model, "int8")
    except SettingsError as error:
        pytest.skip(str(error))
    expected, found = predict(model, test.images), predict(integers, test.images)
    assert (found.labels != expected.labels).mean() <= 0.0005
    assert np.abs(found.probabilities - expected.probabilities).max() <= int8.MAX_DIFFERENCE
    assert expected.known is not None
    assert found.known is not None
    assert (found.known != expected.known).mean() <= 0.002

    table = write_parquet(tmp_path, test.images, len(test.images))
    exact = score(table, tmp_path / "exact.parquet", tag, "--precision", "float32")
    auto = score(table, tmp_path / "auto.parquet", tag)
    assert set(exact["arithmetic"]) == {"float32"}
    assert set(auto["arithmetic"]) <= {"float32", "int8"}
    one, other = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("exact", "auto"))
    assert (one["label"].to_numpy() != other["label"].to_numpy()).mean() <= 0.0005
    assert np.abs(one["confidence"].to_numpy() - other["confidence"].to_numpy()).max() <= int8.MAX_DIFFERENCE
