"""The README of a stored model: the card's figures, and external text escaped."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from components.catalogues.fashion_mnist import CLASSES
from components.contract import ModelCard, Validated
from components.dataset.manifest import Examples, read_manifest
from components.evaluation.card import write_card
from components.model.mlp import MLP
from components.model.readme import as_text, as_yaml, write_readme
from components.registry import store
from components.training.train import Trained

TAG = "fashion-mlp:aaaaaaaa"
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](https://evil.example) ![b](https://evil.example/b.png)",
    "https://evil.example www.evil.example ftp://evil.example a@evil.example",
    "a | b | c",
    "**bold** _low_ ~~gone~~ `code` # not a heading",
    "acme\n\n# A heading\n\n- a list\n---\nlicense: stolen\n```",
    "\"quoted\" 'quoted' \\ {tag} %s: # & &lt; &amp;",
    "\u202egnp.exe \x1b[31mred\x1b[0m \x00 \x85",
    "- first\n> second",
)


def front_matter(readme: str) -> dict[str, Any]:
    first, content, _ = re.split(r"^---$", readme, maxsplit=2, flags=re.MULTILINE)
    assert first == ""
    found: dict[str, Any] = yaml.safe_load(content)
    return found


def body(readme: str) -> str:
    return readme.split("\n---\n", 1)[1].lstrip("\n")


def rendered(markdown: str) -> str:
    """Render Markdown as GitHub and Hugging Face do: with tables, and HTML passed through."""
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(markdown))


def table(readme: str, *headings: str) -> dict[str, list[str]]:
    """Return a table's rows by their first cell."""
    lines = readme.splitlines()
    start = lines.index(f"| {' | '.join(headings)} |") + 2
    rows = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first] = others
    return rows


def test_the_front_matter_follows_the_hugging_face_schema(card: ModelCard) -> None:
    """https://github.com/huggingface/hub-docs/blob/main/modelcard.md"""
    found = front_matter(write_readme(TAG, card))
    assert {"license", "tags", "datasets", "metrics", "pipeline_tag", "model-index"} <= found.keys()
    for name in ("tags", "datasets", "metrics"):
        assert all(isinstance(one, str) for one in found[name])
    (index,) = found["model-index"]
    assert index["name"] == TAG
    (result,) = index["results"]
    assert result["task"]["type"] == found["pipeline_tag"] == "image-classification"
    assert result["dataset"] == {"type": "sample", "name": "sample", "split": "test", "revision": card.dataset_version}
    for metric in result["metrics"]:
        assert metric.keys() == {"type", "name", "value"}
        assert isinstance(metric["value"], float)
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {
        "accuracy": pytest.approx(card.test.accuracy, abs=1e-6),
        "f1": pytest.approx(np.mean([one.f1 for one in card.test.classes]), abs=1e-6),
        "log_loss": pytest.approx(card.test.calibrated.loss, abs=1e-6),
        "brier_score": pytest.approx(card.test.calibrated.brier, abs=1e-6),
        "expected_calibration_error": pytest.approx(card.test.calibrated.calibration_error, abs=1e-6),
    }


def test_the_figures_match_the_card(card: ModelCard) -> None:
    readme = write_readme(TAG, card)
    figures = table(readme, "", "test split", "training split")
    for place, one in enumerate((card.test, card.train)):
        low, high = one.accuracy_interval
        assert figures["accuracy"][place] == f"{one.accuracy:.4f}"
        assert figures["accuracy, 95 % Wilson interval"][place] == f"{low:.4f} to {high:.4f}"
        assert figures["log loss, nats"][place] == f"{one.calibrated.loss:.4f}"
        assert figures["log loss before calibration, nats"][place] == f"{one.uncalibrated.loss:.4f}"
        assert figures["Brier score, 0 to 2"][place] == f"{one.calibrated.brier:.4f}"
        assert figures["expected calibration error"][place] == f"{one.calibrated.calibration_error:.4f}"
        assert figures["coverage: share of predictions above the threshold"][place] == f"{one.coverage:.4f}"
        assert figures["accuracy above the threshold"][place] == (
            f"{one.sure_accuracy:.4f}" if one.coverage else "none"
        )
    assert f"{card.train.rows:,} images" in readme
    assert f"{card.calibration.rows:,} of them held out" in readme
    assert f"{card.expectations} expectations" in readme


def test_the_classes_match_the_card(card: ModelCard) -> None:
    thresholds = (0.0, 1.0, 0.9, *card.calibration.thresholds[3:])
    changed = dataclasses.replace(card, calibration=dataclasses.replace(card.calibration, thresholds=thresholds))
    rows = table(write_readme(TAG, changed), "test split", "precision", "recall", "F1", "images", "threshold")
    assert list(rows) == list(CLASSES)
    assert [row[-1] for row in rows.values()][:3] == ["always", "never", "0.9000"]
    for one in card.test.classes:
        assert rows[one.name][:4] == [f"{one.precision:.4f}", f"{one.recall:.4f}", f"{one.f1:.4f}", f"{one.support:,}"]


def test_the_worst_classes_and_most_frequent_confusions_are_listed(card: ModelCard) -> None:
    confusion = np.diag([20] * 10)
    confusion[6, 0], confusion[4, 2] = 7, 5
    classes = tuple(
        dataclasses.replace(one, f1={"Shirt": 0.5, "Coat": 0.6, "Dress": 0.7}.get(one.name, 0.99))
        for one in card.test.classes
    )
    test = dataclasses.replace(card.test, classes=classes, confusion=tuple(map(tuple, confusion.tolist())))
    readme = write_readme(TAG, dataclasses.replace(card, test=test))
    assert "test split: Shirt (F1 0.5000), Coat (F1 0.6000), Dress (F1 0.7000)." in readme
    assert "- Shirt classified as T-shirt/top: 7 of 27\n- Coat classified as Pullover: 5 of 25\n\n" in readme
    right = dataclasses.replace(test, confusion=tuple(map(tuple, np.diag([20] * 10).tolist())))
    assert "every test image is classified correctly" in write_readme(TAG, dataclasses.replace(card, test=right))


def test_it_states_how_many_known_images_count_as_unknown(card: ModelCard) -> None:
    assert card.known
    readme = write_readme(TAG, dataclasses.replace(card, known=dataclasses.replace(card.known, test_refused=0.0425)))
    section = readme.partition("## Unknown inputs")[2].partition("\n## ")[0]
    for words in (
        "at most | 0.0500 |",
        "count as unknown | 0.0425 |",
        "95 % of the validation",
        "on average, and only",
    ):
        assert words in section
    assert "a hat also gets one of the ten; `known` is false for many such images, not for all" in readme


def test_a_model_that_cannot_tell_unknown_inputs_says_so(card: ModelCard) -> None:
    readme = write_readme(TAG, dataclasses.replace(card, known=None))
    assert "This model cannot tell images that are unlike its training images" in readme
    assert 'the model has no "other" class, so a hat gets one of the ten' in readme
    assert "on which the model abstains. Out of scope" in readme


def test_the_readme_has_everything_needed_to_reproduce_the_model(card: ModelCard) -> None:
    readme = write_readme(TAG, dataclasses.replace(card, weights_sha256="ab" * 32))
    (settings,) = re.findall(r"```json\n(.*?)\n```", readme, re.DOTALL)
    assert json.loads(settings) == json.loads(json.dumps(card.training))
    for fact in ("ab" * 32, card.git_commit, card.dataset_version, card.packages["torch"], "| seed | 0 |"):
        assert fact in readme


def test_a_sample_is_marked_in_the_first_line(card: ModelCard) -> None:
    warning = "say nothing about real clothes"
    assert warning in body(write_readme(TAG, card)).splitlines()[0]
    real = body(write_readme(TAG, dataclasses.replace(card, source="acme")))
    assert warning not in real
    assert real.startswith(f"# {TAG}\n")


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT, Copyright (c) 2017 Zalando SE", "mit"),
        ("MIT; examples added later: as stated by their owners", "other"),
        ("MITRE's own", "other"),
        ("CC0-1.0", "other"),
        ("", "other"),
    ],
)
def test_the_model_is_mit_licensed_only_if_the_data_is(card: ModelCard, licence: str, expected: str) -> None:
    found = front_matter(write_readme(TAG, dataclasses.replace(card, licence=licence)))
    assert found["license"] == expected
    assert ("license_name" in found) == (expected == "other")


def test_the_card_records_the_licence_of_the_data(trained: Trained, validated: Validated, card: ModelCard) -> None:
    licence = read_manifest(validated.dataset).licence
    assert write_card("quick", validated, trained).licence == card.licence == licence


@pytest.mark.parametrize("text", HOSTILE)
def test_external_text_is_escaped(card: ModelCard, text: str) -> None:
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))
    assert front_matter(f"---\na: {as_yaml(text)}\n---\n")["a"] == shown
    page = rendered(f"| a | b |\n| --- | --- |\n| x | {as_text(text)} |\n")
    plain = rendered("| a | b |\n| --- | --- |\n| x | y |\n")
    assert re.findall(r"<[^>]*>", page) == re.findall(r"<[^>]*>", plain)
    readme, tame = write_readme(TAG, with_text(card, text)), write_readme(TAG, with_text(card, "tame"))
    assert front_matter(readme)["datasets"] == [shown]
    assert re.findall(r"<[^>]*>", rendered(body(readme))) == re.findall(r"<[^>]*>", rendered(body(tame)))
    assert not re.search(r"<(script|img)|://|www\.|@", body(readme).split("```json")[0]), "no autolink"
    assert "<" not in readme
    assert readme.count("\n") == tame.count("\n")


def with_text(card: ModelCard, text: str) -> ModelCard:
    card = dataclasses.replace(card, preset=text, source=text, git_commit=text, licence=text, packages={text: text})
    return dataclasses.replace(card, training={text: text}, hardware={text: text}, dataset_version=text)


def test_the_python_example_runs(network: MLP, card: ModelCard, test_split: Examples, bentoml_home: Path) -> None:
    tag = store.save_model(network, card)
    readme = (bentoml_home / "models" / tag.replace(":", "/") / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    found: dict[str, Any] = {"images": test_split.images[:3]}
    exec(code, found)
    assert found["predictions"].model == tag


def test_a_model_stored_without_a_readme_loads(network: MLP, card: ModelCard, bentoml_home: Path) -> None:
    tag = store.save_model(network, card)
    (bentoml_home / "models" / tag.replace(":", "/") / "README.md").unlink()
    assert store.load_stored(tag).card.preset == card.preset
    assert [one.problem for one in store.list_stored()] == [""]


def test_the_epochs_of_two_phases_are_both_listed(card: ModelCard) -> None:
    two = dataclasses.replace(
        card, training={**card.training, "epochs": 2, "untied_epochs": 1}, history=(card.history[0],) * 3
    )
    assert "3 (2 tied, then 1 untied), weights from epoch" in write_readme(TAG, two)
    assert "untied)" not in write_readme(TAG, card)
