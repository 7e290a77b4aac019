"""Bentos for tests: a checkout to build from, a store to build in, and the content of a container image."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bentoml
import yaml
from bentoml._internal.container import construct_containerfile
from servers import using_home

from components.contract import GateCheck, ModelCard, Verdict
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.gate import verdict_of
from components.registry import champion, store, verdicts
from components.registry.bento import build_bento
from components.settings import CHECKOUT

BENTOFILE: dict[str, Any] = yaml.safe_load((CHECKOUT / "bentofile.yaml").read_text())


@dataclass(frozen=True)
class Built:
    """A Bento in a separate store, and the model that was live when it was built."""

    home: Path
    tag: str
    model: str

    @property
    def folder(self) -> Path:
        return folder_of(self.home, self.tag)

    @property
    def described(self) -> dict[str, Any]:
        """The content of its bento.yaml."""
        content: dict[str, Any] = yaml.safe_load((self.folder / "bento.yaml").read_text())
        return content

    @property
    def sources(self) -> list[Path]:
        """Every packaged file, relative to `src`; BentoML adds the build file."""
        return sorted(path.relative_to(self.folder / "src") for path in self.folder.glob("src/**/*") if path.is_file())


def folder_of(home: Path, tag: str) -> Path:
    return home / "bentos" / tag.replace(":", "/")


@contextmanager
def built_in(folder: Path, network: MLP, card: ModelCard) -> Iterator[Built]:
    """Build a Bento of a model that passed the gate, from a separate checkout in `folder`; its store is in use."""
    source = copy_checkout(folder / "checkout")
    with using_home(folder / "bentoml") as home:
        model = store.save_model(network, card)
        judge(model, passed=True)
        champion.make_live(model, "a test")
        yield Built(home, build_bento(source=source).tag, model)


def judge(tag: str, *, passed: bool) -> None:
    """Store a verdict with a model."""
    verdicts.write_verdict(verdict(tag, passed=passed))


def verdict(tag: str, *, passed: bool) -> Verdict:
    check = GateCheck("accuracy", passed, "0.9", "at least 0.8", "0.9, at least 0.8")
    return verdict_of(tag, None, [check], GateBounds())


def copy_checkout(folder: Path) -> Path:
    """Copy the files that a Bento is built from to a repository, whose only commit is the same in every copy."""
    for name in ("bentofile.yaml", "requirements.lock", "service.py"):
        folder.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / name, folder)
    for name in ("components", "serving", "ui"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    when = "2026-01-01T00:00:00+00:00"
    who = {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    environment = os.environ | who | alone | {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "a test"]):
        subprocess.run(["git", *command], cwd=folder, env=environment, check=True)
    return folder


def fill_image(tag: str, folder: Path) -> Path:
    """Write the build context of `bentoml containerize`: the Bento, its models and a Dockerfile."""
    with construct_containerfile(bentoml.get(tag)) as (context, _):
        shutil.copytree(context, folder)
    return folder
