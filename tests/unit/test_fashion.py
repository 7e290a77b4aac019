"""`import fashion`: the examples in its docstring work, and the types match the API."""

import ast
import inspect
import re
import textwrap
from pathlib import Path
from pkgutil import resolve_name

import pytest
from PIL import Image

import fashion
from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.model.mlp import MLP
from components.registry import champion, store


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
    with pytest.raises(AttributeError, match="'fashion' has no attribute 'fly'"):
        fashion.__getattr__("fly")
