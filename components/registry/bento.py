"""Build a Bento from one exact model, its verdict and the serving code.

The version is a content hash over the files listed in `bentofile.yaml`, the build options, the verdict, the model card
(which contains the hash of the weights) and BentoML's version. A Bento with the same content is built only once.

BentoML copies a Bento file by file into its final place. To make that atomic, this module builds in a temporary
BENTOML_HOME, from a copy of the hashed files, and renames the finished folder into place.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from components.catalogue_in_use import DEFAULT, VARIABLE, catalogue_in_use
from components.contract import Verdict
from components.errors import ModelError
from components.files import (
    DAY,
    move_folder,
    remove_leftovers,
    require_writable,
    sha256_of,
    temporary_name,
    write_whole,
)
from components.model.classifier import Classifier
from components.paths import CHECKOUT, RESOURCES
from components.registry.champion import load_model, verdict_when_promoted
from components.registry.store import (
    BUNDLED,
    VERDICT,
    bentoml_home,
    card_sha256,
    copy_stored,
    home,
    store_lock,
)
from components.registry.verdicts import encode_verdict, read_verdict
from components.settings import checkout_commit

BUILD_FILE, LOCK_FILE = "bentofile.yaml", "requirements.lock"
NETWORK_PACKAGES = ("onnxruntime",)  # of a model with a frozen network
VERSION_LENGTH = 16  # characters in base 32, or 80 bits, like BentoML's own versions
LABEL_LENGTH = 63  # maximum length of a label value in Kubernetes

Options = dict[str, Any]  # content of a build file


@dataclass(frozen=True)
class BuiltBento:
    """A Bento in the store."""

    tag: str  # exact tag
    model: str  # exact tag of the bundled model
    verdict: str  # "passed", "forced", "rejected", or "none" if the gate has not run
    is_new: bool  # False: it already existed


def build_bento(tag: str | None = None, *, source: Path = RESOURCES) -> BuiltBento:
    """Build a Bento, unless one with the same content exists.

    Args:
        tag: exact tag of the model, whatever its verdict; None: the live model.
        source: folder of `bentofile.yaml` and of the files it includes.

    Raises:
        NoLiveModel, ModelNotFound, ModelError: the model does not load, or the build failed.
    """
    model = load_model(tag)
    staging = home() / "staging" / temporary_name("bento")
    require_writable(home())
    remove_leftovers(staging.parent, older_than=DAY)
    try:
        options = _gather(model, source, staging / "source")
        content = _content_of(staging / "source", options, card_sha256(model.tag))
        options["labels"] |= {"commit": _as_label(checkout_commit(source)), "content": content}
        folder = bentoml_home() / "bentos" / str(options["name"]) / content
        is_new = not folder.exists()
        if is_new:
            copy_stored(model.tag, staging / "home")
            _install(_build(staging, options), folder, model)
        _check_complete(folder)
        write_whole(folder.with_name("latest"), content.encode())
        return BuiltBento(f"{options['name']}:{content}", model.tag, options["labels"]["verdict"], is_new)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _gather(model: Classifier, source: Path, copy: Path) -> Options:
    """Copy the files to include, add the verdict, and complete the build options."""
    options: Options = yaml.safe_load((source / BUILD_FILE).read_text())
    for name, path in _included(options["include"], source):
        destination = copy / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, destination)
    verdict = read_verdict(model.tag)
    if verdict:
        (copy / VERDICT).write_bytes(encode_verdict(verdict))
        options["include"].append(f"/{VERDICT}")
    options["models"] = [{"tag": model.tag, "alias": BUNDLED}]
    if (catalogue := catalogue_in_use()) != DEFAULT:
        options["envs"] = [*options.get("envs", []), {"name": VARIABLE, "value": catalogue}]
    packages = [*options["python"]["packages"], *(NETWORK_PACKAGES if model.contract.embedding else ())]
    options["python"]["packages"] = _locked(packages, source / LOCK_FILE)
    labels = {"model": model.tag, "preset": model.card.preset, "source": model.card.source}
    labels |= {"dataset": model.card.dataset_version, "verdict": _verdict_of(model.tag, verdict)}
    labels |= {"contract": model.contract.fingerprint[:VERSION_LENGTH]}
    options["labels"] |= {name: _as_label(value) for name, value in labels.items()}
    return options


def _included(patterns: list[str], source: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each file to include, first its path in the Bento. A wheel has the packages outside its resources."""
    folders = (source, CHECKOUT) if source == RESOURCES else (source,)
    for pattern in patterns:
        for folder in folders:
            if paths := sorted(folder.glob(pattern.removeprefix("/"))):
                yield from ((path.relative_to(folder), path) for path in paths)
                break


def _verdict_of(tag: str, last: Verdict | None) -> str:
    """Return the verdict of the last promotion, if any, else the last outcome of the gate."""
    return verdict_when_promoted(tag) or (last.outcome if last else "none")


def _locked(packages: list[str], lock: Path) -> list[str]:
    """Pin each package to the version the tests ran with, as lines of the lock file, markers included."""
    lines = [line for line in lock.read_text().splitlines() if re.match(r"\w", line)]
    names = [re.split(r"[<>=!~; \[]", package, maxsplit=1)[0] for package in packages]
    if missing := [name for name in names if not any(line.startswith(f"{name}==") for line in lines)]:
        raise ModelError(f"{lock.name} has no version of {', '.join(missing)}, which {BUILD_FILE} lists; add it")
    return [line for name in names for line in lines if line.startswith(f"{name}==")]


def _content_of(copy: Path, options: Options, card: str) -> str:
    """Hash everything that defines the Bento; time and commit are not part of it."""
    files = {path.relative_to(copy).as_posix(): sha256_of(path) for path in copy.rglob("*") if path.is_file()}
    content = {"files": files, "options": options, "card": card, "bentoml": version("bentoml")}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:VERSION_LENGTH]


def _build(staging: Path, options: Options) -> Path:
    """Build in a temporary BENTOML_HOME. Return the folder of the Bento."""
    build_file = staging / BUILD_FILE
    build_file.write_text(yaml.safe_dump(options, sort_keys=False))
    content = options["labels"]["content"]
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    done = subprocess.run(
        [bentoml, "build", str(staging / "source"), "--bentofile", str(build_file), "--version", content],
        capture_output=True,
        text=True,
        cwd=staging / "source",
        env={**os.environ, "BENTOML_HOME": str(staging / "home"), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    folder: Path = staging / "home" / "bentos" / options["name"] / content
    if done.returncode or not folder.is_dir():
        raise ModelError(f"bentoml build failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return folder


def _install(built: Path, folder: Path, model: Classifier) -> None:
    """Move a finished Bento into the store, unless a concurrent build was faster."""
    with store_lock():
        card_sha256(model.tag)  # raises if the model has been removed
        if not folder.exists():
            move_folder(built, folder)


def _check_complete(folder: Path) -> None:
    if not (folder / "bento.yaml").is_file():
        tag = f"{folder.parent.name}:{folder.name}"
        raise ModelError(f"{tag}: {folder} has no bento.yaml. Remove it with 'bentoml delete {tag}' and build again")


def _as_label(value: str) -> str:
    """Convert a value to a label that BentoML, image registries and Kubernetes accept."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", value)[:LABEL_LENGTH].strip("._-")
