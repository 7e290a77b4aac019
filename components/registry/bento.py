"""Build a Bento that holds one exact model, what the gate said of it, and the serving code.

Its version is the hash of its content: the files that `bentofile.yaml` names, the build options, the verdict, the
model's card (which has the hash of its weights), and BentoML's version. The same content is the same Bento, built once.

BentoML copies a Bento file by file into its final place. Here it builds in a home of its own, from a copy of the files
that were hashed, and the finished folder is renamed into place: whoever looks sees all of it or nothing.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
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
from components.settings import CHECKOUT, checkout_commit

BUILD_FILE, LOCK_FILE = "bentofile.yaml", "requirements.lock"
VERSION_LENGTH = 16  # characters: of base 32, so 80 bits, as BentoML's own versions look
LABEL_LENGTH = 63  # what Kubernetes takes as a label's value

Options = dict[str, Any]  # a build file


@dataclass(frozen=True)
class BuiltBento:
    """A Bento of the store."""

    tag: str  # exact
    model: str  # the exact tag of the model inside
    verdict: str  # "passed", "forced", "refused", or "none" where the gate was not asked
    is_new: bool  # False: it was there already


def build_bento(tag: str | None = None, *, source: Path = CHECKOUT) -> BuiltBento:
    """Build a Bento, unless one with the same content is there.

    Args:
        tag: the model's, exact, whatever the gate said of it; None: the live model's.
        source: the checkout.

    Raises:
        NoLiveModel, ModelNotFound, ModelError: the model cannot be loaded, or the build failed.
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
            _put(_build(staging, options), folder, model)
        _check_whole(folder)
        write_whole(folder.with_name("latest"), content.encode())
        return BuiltBento(f"{options['name']}:{content}", model.tag, options["labels"]["verdict"], is_new)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _gather(model: Classifier, source: Path, copy: Path) -> Options:
    """Copy what travels, add the verdict, and complete the build options."""
    options: Options = yaml.safe_load((source / BUILD_FILE).read_text())
    for path in sorted(path for pattern in options["include"] for path in source.glob(pattern.removeprefix("/"))):
        destination = copy / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, destination)
    verdict = read_verdict(model.tag)
    if verdict:
        (copy / VERDICT).write_bytes(encode_verdict(verdict))
        options["include"].append(f"/{VERDICT}")
    options["models"] = [{"tag": model.tag, "alias": BUNDLED}]
    if (catalogue := catalogue_in_use()) != DEFAULT:
        options["envs"] = [*options.get("envs", []), {"name": VARIABLE, "value": catalogue}]
    options["python"]["packages"] = _locked(options["python"]["packages"], source / LOCK_FILE)
    told = {"model": model.tag, "preset": model.card.preset, "source": model.card.source}
    told |= {"dataset": model.card.dataset_version, "verdict": _verdict_of(model.tag, verdict)}
    told |= {"contract": model.contract.fingerprint[:VERSION_LENGTH]}
    options["labels"] |= {name: _as_label(value) for name, value in told.items()}
    return options


def _verdict_of(tag: str, last: Verdict | None) -> str:
    """The one under which it went live, if it did; else what the gate said last."""
    return verdict_when_promoted(tag) or (last.outcome if last else "none")


def _locked(packages: list[str], lock: Path) -> list[str]:
    """Each package in the version that the tests ran with: the lines of a lock file, markers and all."""
    lines = [line for line in lock.read_text().splitlines() if re.match(r"\w", line)]
    names = [re.split(r"[<>=!~; \[]", package, maxsplit=1)[0] for package in packages]
    if missing := [name for name in names if not any(line.startswith(f"{name}==") for line in lines)]:
        raise ModelError(f"{lock.name} has no {', '.join(missing)}, which {BUILD_FILE} names")
    return [line for name in names for line in lines if line.startswith(f"{name}==")]


def _content_of(copy: Path, options: Options, card: str) -> str:
    """The hash of all that decides what the Bento is; neither the time nor the commit is in it."""
    files = {path.relative_to(copy).as_posix(): sha256_of(path) for path in copy.rglob("*") if path.is_file()}
    content = {"files": files, "options": options, "card": card, "bentoml": version("bentoml")}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:VERSION_LENGTH]


def _build(staging: Path, options: Options) -> Path:
    """Build in a home of its own; the Bento's folder there."""
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


def _put(built: Path, folder: Path, model: Classifier) -> None:
    """Rename a finished Bento into the store, unless another build of the same was faster."""
    with store_lock():
        card_sha256(model.tag)  # raises where the model went meanwhile
        if not folder.exists():
            move_folder(built, folder)


def _check_whole(folder: Path) -> None:
    if not (folder / "bento.yaml").is_file():
        tag = f"{folder.parent.name}:{folder.name}"
        raise ModelError(f"{tag}: {folder} has no bento.yaml; remove it with 'bentoml delete {tag}', then build again")


def _as_label(value: str) -> str:
    """A value that is a label's in BentoML, in image registries and in Kubernetes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", value)[:LABEL_LENGTH].strip("._-")
