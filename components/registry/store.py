"""Weights and JSON <-> the BentoML model store. The only module that imports bentoml, and only its model store.

BentoML copies a model file by file into its final place, with no lock and no checksum. Here it makes the model in a
store of its own, and the finished folder is renamed into place: whoever looks sees all of it or nothing.

    BENTOML_HOME/models/fashion-mlp/<version>/weights.safetensors   float32, no pickle
                                              model.json            the ModelCard, with the weights' SHA-256
                                              model.yaml            BentoML's, with the SHA-256 of model.json
                                              README.md             the card for people, from what was measured
                                              verdict.json          what the gate said of it last, if it was asked
"""

import hashlib
import os
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import bentoml
import orjson
import pydantic
import torch
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load as decode_weights
from safetensors.torch import save as encode_weights

from components.contract import CLASSES, ModelCard, Verdict
from components.errors import FashionError, ModelError, ModelNotFound
from components.files import DAY, move_folder, remove_leftovers, temporary_name, write_whole
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.model.readme import write_readme

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")  # else it reports every save; the word, it ignores 1

NAME = "fashion-mlp"
BUNDLED = "fashion-bundled"  # the alias under which a built Bento knows the model inside it
EXACT_TAG = re.compile(rf"{NAME}:[a-z0-9]{{8,64}}")
LOCK_TIMEOUT = 120  # seconds to wait for another save

WEIGHTS = "weights.safetensors"
CARD = "model.json"
README = "README.md"
VERDICT = "verdict.json"
FILES = {WEIGHTS, CARD, VERDICT, README, "model.yaml"}


@dataclass(frozen=True)
class Stored:
    """One model of the store, as far as it can be read."""

    tag: str
    card: ModelCard | None
    problem: str = ""  # why there is no card


def home() -> Path:
    """This project's own folder in BENTOML_HOME: the live-model pointer, its history, the locks."""
    return Path(BentoMLContainer.bentoml_home.get()) / "fashion"


def bundled_tag() -> str | None:
    """The exact tag of the model inside the running Bento, or None outside a built one."""
    aliases: dict[str, str] = BentoMLContainer.model_aliases.get()
    return aliases.get(BUNDLED)


def use_own_models() -> None:
    """Look for models in BENTOML_HOME; a Bento that carries its model, as in a container, has BentoML look in that."""
    BentoMLContainer.model_store.reset()


def save_model(network: MLP, card: ModelCard) -> str:
    """Store a network and what is known of it.

    Returns:
        Its exact tag, "fashion-mlp:<version>".

    Raises:
        ModelError: a weight is not finite.
    """
    state = {name: weight.contiguous() for name, weight in network.state_dict().items()}
    _check_finite(state, "the network")
    weights = encode_weights(state)
    card = replace(card, weights_sha256=hashlib.sha256(weights).hexdigest())
    described = orjson.dumps(asdict(card), option=orjson.OPT_INDENT_2)
    tag = bentoml.Tag.from_taglike(NAME).make_new_version()
    staging = home() / "staging" / temporary_name("store")
    remove_leftovers(staging.parent, older_than=DAY)
    staging.mkdir(parents=True)
    try:
        with bentoml.models.create(
            tag,
            labels={"preset": card.preset, "source": card.source},
            metadata={"card_sha256": hashlib.sha256(described).hexdigest()},
            _model_store=ModelStore(staging),
        ) as model:
            Path(model.path_of(WEIGHTS)).write_bytes(weights)
            Path(model.path_of(CARD)).write_bytes(described)
            Path(model.path_of(README)).write_text(write_readme(str(tag), card), encoding="utf-8")
        with store_lock():
            move_folder(staging / tag.path(), _folder(str(tag)))
            write_whole(_folder(str(tag)).with_name("latest"), str(tag.version).encode())
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return str(tag)


def load_stored(tag: str) -> Classifier:
    """Load a model by its exact tag, every byte checked.

    Raises:
        ModelNotFound: no such tag.
        ModelError: a file that is missing, changed or unknown, weights that do not fit the network, or are not finite.
    """
    card = describe_stored(tag)
    _check_files(tag)
    weights = _read(tag, WEIGHTS)
    found = hashlib.sha256(weights).hexdigest()
    if found != card.weights_sha256:
        raise ModelError(f"{tag}: {WEIGHTS} has the SHA-256 {found[:16]}..., {CARD} says {card.weights_sha256[:16]}...")
    try:
        state = decode_weights(weights)
    except SafetensorError as error:
        raise ModelError(f"{tag}: {WEIGHTS} is not a safetensors file: {error}") from error
    network = _build(tag, card)
    _check_fit(tag, network, state)
    _check_finite(state, tag)
    network.load_state_dict(state)
    return Classifier(tag, card, network.eval())


def describe_stored(tag: str) -> ModelCard:
    """A model's card, checked against the hash that BentoML keeps of it.

    Raises:
        ModelNotFound, ModelError: as for `load_stored`.
    """
    _demand_stored(tag)
    content = _read(tag, CARD)
    if hashlib.sha256(content).hexdigest() != _recorded_card_hash(tag):
        raise ModelError(f"{tag}: {CARD} changed since it was saved")
    try:
        card = pydantic.TypeAdapter(ModelCard).validate_json(content)
    except pydantic.ValidationError as error:
        raise ModelError(
            f"{tag}: {CARD} does not fit: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        ) from error
    if card.classes != CLASSES:
        raise ModelError(f"{tag}: trained for the classes {card.classes}, this code knows {CLASSES}")
    return card


def copy_stored(tag: str, other_home: Path) -> None:
    """Copy a model into the store of another BENTOML_HOME.

    Raises:
        ModelNotFound: no such tag.
    """
    _demand_stored(tag)
    shutil.copytree(_folder(tag), other_home / "models" / bentoml.Tag.from_taglike(tag).path())


def card_sha256(tag: str) -> str:
    """SHA-256 of a model's card, which holds that of its weights: what the live-model pointer keeps of a model.

    Raises:
        ModelError: the card cannot be read.
    """
    return hashlib.sha256(_read(tag, CARD)).hexdigest()


def write_verdict(verdict: Verdict) -> None:
    """Keep a verdict with the model it is of, in the place of an earlier one.

    Raises:
        ModelNotFound: the model is gone.
    """
    with store_lock():
        _demand_stored(verdict.challenger)
        write_whole(_folder(verdict.challenger) / VERDICT, encode_verdict(verdict))


def encode_verdict(verdict: Verdict) -> bytes:
    """The JSON that is kept of a verdict."""
    return orjson.dumps({"outcome": verdict.outcome, **asdict(verdict)}, option=orjson.OPT_INDENT_2) + b"\n"


def read_verdict(tag: str) -> Verdict | None:
    """What the gate said of a model last; None where it was not asked.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        content = (_folder(tag) / VERDICT).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return pydantic.TypeAdapter(Verdict).validate_json(content)
    except pydantic.ValidationError as error:
        raise ModelError(f"{tag}: {VERDICT} is no verdict: {error.errors()[0]['msg']}") from error


def store_lock() -> FileLock:
    """Held while a model's folder appears, changes or goes."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "store.lock", timeout=LOCK_TIMEOUT)


def list_stored() -> list[Stored]:
    """Every model of the store, oldest first; those that cannot be read come last, with the reason."""
    folder = _folder(f"{NAME}:any").parent
    stored = [_try_to_describe(f"{NAME}:{path.name}") for path in folder.glob("*") if path.is_dir()]
    return sorted(stored, key=lambda one: (one.card is None, one.card.created_at if one.card else "", one.tag))


def _try_to_describe(tag: str) -> Stored:
    try:
        return Stored(tag, describe_stored(tag))
    except FashionError as error:
        return Stored(tag, None, str(error))


def _demand_stored(tag: str) -> None:
    if not EXACT_TAG.fullmatch(tag):
        raise ModelNotFound(f"{tag!r} is not an exact tag; expected {NAME}:<version>, see 'fashion models'")
    if not _folder(tag).is_dir():
        raise ModelNotFound(f"{tag}: not in the store; see 'fashion models'")


def _folder(tag: str) -> Path:
    return Path(BentoMLContainer.model_store.get()._path) / bentoml.Tag.from_taglike(tag).path()


def _read(tag: str, name: str) -> bytes:
    path = _folder(tag) / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{tag}: {name} cannot be read: {error.strerror}") from error


def _check_files(tag: str) -> None:
    """Nothing that somebody might load as code lies among them; hidden files are those of a verdict being written."""
    names = {path.name for path in _folder(tag).iterdir() if not path.name.startswith(".")}
    if unknown := sorted(names - FILES):
        raise ModelError(f"{tag}: unknown file {unknown[0]!r}; a model has {', '.join(sorted(FILES))}")


def _recorded_card_hash(tag: str) -> str:
    try:
        metadata = bentoml.models.get(tag).info.metadata
    except Exception as error:  # a damaged file makes it raise whatever its YAML reader and converters do
        raise ModelError(f"{tag}: BentoML cannot read its model.yaml: {error}") from error
    return str(metadata.get("card_sha256"))


def _build(tag: str, card: ModelCard) -> MLP:
    try:
        return MLP(ModelConfig(**card.model))
    except (TypeError, FashionError) as error:
        raise ModelError(f"{tag}: no network can be built from {card.model}: {error}") from error


def _check_fit(tag: str, network: MLP, state: dict[str, torch.Tensor]) -> None:
    for name, expected in network.state_dict().items():
        found = state.get(name)
        if found is None or found.shape != expected.shape or found.dtype != expected.dtype:
            is_now = "missing" if found is None else f"{found.dtype} {tuple(found.shape)}"
            raise ModelError(f"{tag}: weight {name} is {is_now}, expected {expected.dtype} {tuple(expected.shape)}")
    if extra := state.keys() - network.state_dict().keys():
        raise ModelError(f"{tag}: unknown weights {', '.join(sorted(extra))}")


def _check_finite(state: dict[str, torch.Tensor], where: str) -> None:
    for name, weight in state.items():
        if not torch.isfinite(weight).all():
            raise ModelError(f"{where}: weight {name} holds values that are not finite")
