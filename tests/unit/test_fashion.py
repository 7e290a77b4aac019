"""`import fashion`: the examples in its docstring work, and the types match the API."""

import ast
import inspect
import re
import textwrap
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
from PIL import Image

import fashion
from components.contract import GateCheck, ModelCard, Validated, Verdict
from components.dataset.manifest import Examples
from components.errors import SettingsError
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.promotion.promote import Promotion
from components.readers.folders.names import LeftOut
from components.registry import champion, store
from components.scoring.job import Summary
from components.scoring.predict import predict
from components.scoring.summary import Count
from components.training.train import Trained
from flows.training import TrainingResult


def examples() -> list[str]:
    """The indented blocks of the docstring."""
    blocks = (fashion.__doc__ or "").split("\n\n")
    return [textwrap.dedent(block) for block in blocks if block.startswith("    ")]


def test_the_first_example_runs(
    network: MLP,
    card: ModelCard,
    test_split: Examples,
    bentoml_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(test_split.images[0]).save("boot.png")
    exec("\n".join(examples()[:2]), {})
    assert re.fullmatch(r"\['.+'\] \[0\.\d+\] \[(True|False)\]\n", capsys.readouterr().out)


def test_the_other_examples_use_existing_names() -> None:
    called = {
        node.attr
        for node in ast.walk(ast.parse("\n".join(examples()[2:])))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fashion"
    }
    assert {"score", "train", "ingest", "validate", "fit", "write_card", "save_model", "promote"} <= called
    assert called <= set(fashion.API)


def test_types_and_names_agree() -> None:
    (checked,) = (node for node in ast.parse(inspect.getsource(fashion)).body if isinstance(node, ast.If))
    typed = {
        f"{node.module}:{one.name}" for node in checked.body if isinstance(node, ast.ImportFrom) for one in node.names
    }
    assert typed == set(fashion.API.values())
    for name, place in fashion.API.items():
        assert getattr(fashion, name) is resolve_name(place)
    with pytest.raises(AttributeError, match="'fashion' has no attribute 'fits'"):
        fashion.__getattr__("fits")


def test_a_model_is_loaded_with_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fashion.toml").write_text("catalog = 'shop'")
    with pytest.raises(SettingsError, match="unknown setting 'catalog'; did you mean 'catalogue'"):
        fashion.load_model()


def test_each_result_is_one_short_line(network: MLP, card: ModelCard, trained: Trained, validated: Validated) -> None:
    tag, data = "fashion-mlp:abc", validated.dataset
    model = Classifier(tag, card, network.to_numpy())
    images = np.zeros((5, *card.contract.image.shape), np.uint8)
    count, report = Count(rows=1_000, scored=998, rejected=2), Path("report")
    numbers = (0.5, 0.1, 0.4, None, 3, 1.2)
    lines = {
        repr(data): f"Dataset({data.version}, sample: 800 rows, 10 classes)",
        repr(validated): f"Validated({data.version}: {validated.expectations} expectations met, 800 rows)",
        repr(model): (
            f"Classifier({tag}, quick: 10 classes, images of 28 x 28 x 1, test accuracy {card.test.accuracy:.4f})"
        ),
        repr(card): f"ModelCard(quick, 10 classes, test accuracy {card.test.accuracy:.4f}, dataset {data.version})",
        repr(Summary(count, 2.0, 0, tag, "", "", "", "", LeftOut())): f"Summary({tag}: 998 scored, 2 rejected, 2.0 s)",
        repr(TrainingResult(tag, "quick", "sample", "abc", *numbers, True, "passed", report, report)): (
            f"TrainingResult({tag}, quick on sample: test accuracy 0.4000, live)"
        ),
        repr(Promotion(tag, False, None, None, is_news=False)): f"Promotion({tag}: already live)",
    }
    assert list(lines) == list(lines.values())
    assert re.fullmatch(r"Trained\(\S+: \d+ epochs in \d+\.\d s, validation accuracy 0\.\d{4}\)", repr(trained))
    shown = repr(predict(model, images))
    assert re.fullmatch(rf"Predictions\({tag}: ([\w/ -]+ \d+\.\d% \(abstains\), ){{3}}2 more\)", shown), shown


@pytest.mark.parametrize(
    ("failed", "shown"),
    [((), "live, 2 checks passed"), (("accuracy", "log loss"), "rejected, failed: accuracy, log loss")],
)
def test_a_promotion_names_the_failed_checks(failed: tuple[str, ...], shown: str) -> None:
    checks = tuple(GateCheck(name, name not in failed, "", "", "a long message") for name in ("accuracy", "log loss"))
    verdict = Verdict("fashion-mlp:abc", None, "2026-11-30T00:00:00+00:00", "", 800, checks, {})
    assert repr(Promotion("fashion-mlp:abc", not failed, verdict, None)) == f"Promotion(fashion-mlp:abc: {shown})"
