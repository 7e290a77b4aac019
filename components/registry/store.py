"""Save and load models in the BentoML model store. The only module of `components` that imports bentoml.

It imports bentoml to write and inside a server only: that takes longer than reading the store.

BentoML copies a model file by file into its final place, without a lock or a checksum. To make that atomic, this module
creates the model in a temporary store and renames the finished folder into place.

    BENTOML_HOME/models/NAME-mlp/<version>/weights.safetensors   float32, no pickle
                                           model.json            the ModelCard, with the weights' SHA-256
                                           model.yaml            BentoML's, with the SHA-256 of model.json
                                           README.md             the model card as text, with its metrics
                                           network.onnx          the frozen network, if the contract has one
                                           verdict.json          the last verdict of the gate, if it has run
                                           barred.json           why it is not promoted again, if it is barred

NAME is the name of the catalogue; Fashion-MNIST's is "fashion".
"""

import contextlib
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import yaml
from filelock import FileLock
from safetensors.numpy import save

from components.catalogue_in_use import DEFAULT, VARIABLE, catalogue_in_use, in_catalogue
from components.contract import ModelCard
from components.errors import FashionError, ModelError, ModelNotFound
from components.files import (
    DAY,
    flush_tree,
    move_folder,
    remove_leftovers,
    require_writable,
    temporary_name,
    write_whole,
    writer_of,
)
from components.model.cards import read_card, read_config
from components.model.classifier import Classifier
from components.model.config import ModelConfig
from components.model.numpy_mlp import NumpyMLP
from components.model.readme import write_readme
from components.model.weights import PREFIX, State, check_finite, check_fit, check_size, decode_weights
from components.networks.embedder import check_network, embedder_of, read_network_file, remember
from components.telemetry import disable_telemetry

disable_telemetry()  # BentoML, imported later, would report every save

NAME = "fashion-mlp"  # model name of Fashion-MNIST
BUNDLED = "fashion-bundled"  # alias of the model bundled in a built Bento
EXACT_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,39}-mlp:[a-z0-9]{8,64}")
LOCK_TIMEOUT = 120  # seconds to wait for a concurrent save

FilesState = tuple[tuple[int, ...] | None, ...]

WEIGHTS = "weights.safetensors"
CARD = "model.json"
README = "README.md"
VERDICT = "verdict.json"
BARRED = "barred.json"
NETWORK = "network.onnx"
FILES = {WEIGHTS, CARD, VERDICT, BARRED, README, NETWORK, "model.yaml"}


class Network(Protocol):
    """A network that can be stored."""

    @property
    def state(self) -> State:
        """The arrays that `forms_of` lists."""
        ...


@dataclass(frozen=True)
class Stored:
    """A model in the store, as far as it can be read."""

    tag: str
    card: ModelCard | None
    problem: str = ""  # what is wrong, as far as visible without reading the weights


def bentoml_home() -> Path:
    """Return the BENTOML_HOME that BentoML uses."""
    if container := _find_container():
        return Path(container.bentoml_home.get())
    return Path(os.environ.get("BENTOML_HOME", Path.home() / "bentoml"))


def _find_container() -> Any:
    """Return BentoML's configuration, or None if it can only be the default: BentoML is not in use in this process."""
    if "bentoml" in sys.modules or "${" in os.environ.get("BENTOML_HOME", ""):
        from bentoml._internal.configuration.containers import BentoMLContainer

        return BentoMLContainer
    return None


def _models_folder() -> Path:
    container = _find_container()
    return Path(container.model_store.get()._path) if container else bentoml_home() / "models"


def home(of: Path | None = None) -> Path:
    """Return this project's folder for the catalogue in use: live-model pointer, history, locks.

    Args:
        of: a BENTOML_HOME; None: the current one.
    """
    return in_catalogue((of or bentoml_home()) / "fashion", catalogue_in_use())


def bundled_tag() -> str | None:
    """Return the exact tag of the model bundled in the running Bento, or None outside a built Bento."""
    container = _find_container()
    aliases: dict[str, str] = container.model_aliases.get() if container else {}
    return aliases.get(BUNDLED)


def use_own_models() -> None:
    """Use the model store in BENTOML_HOME instead of the models bundled in the running Bento."""
    if container := _find_container():
        container.model_store.reset()


def save_model(network: Network, card: ModelCard) -> str:
    """Store a network with its model card.

    Args:
        network: in NumPy or PyTorch.
        card: its model card.

    Returns:
        The exact tag, "<name>-mlp:<version>".

    Raises:
        ModelError: a weight is not finite.
    """
    import bentoml
    from bentoml._internal.models import ModelStore

    state = {name: np.asarray(array, order="C") for name, array in network.state.items()}  # safetensors requires it
    with _prefix_errors("the network"):
        check_finite(state)
    weights = save(state)
    known = card.known if any(name.startswith(PREFIX) for name in state) else None
    card = replace(card, weights_sha256=hashlib.sha256(weights).hexdigest(), known=known)
    described = orjson.dumps(asdict(card), option=orjson.OPT_INDENT_2)
    tag = bentoml.Tag.from_taglike(name_models(card.contract.name)).make_new_version()
    staging = home() / "staging" / temporary_name("store")
    require_writable(home())
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
            if card.contract.embedding:
                Path(model.path_of(NETWORK)).write_bytes(read_network_file(card.contract.embedding))
        flush_tree(staging / tag.path())  # before the lock is taken, so that others need not wait
        with store_lock():
            move_folder(staging / tag.path(), _folder(str(tag)))
            write_whole(_folder(str(tag)).with_name("latest"), str(tag.version).encode())
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return str(tag)


def load_stored(tag: str) -> Classifier:
    """Load a model by its exact tag and check every byte.

    Raises:
        ModelNotFound: no such tag.
        ModelError: a file is missing, changed or unknown, or the weights do not fit the network or are not finite.
    """
    card, config, state = _read_checked(tag)
    if card.contract.embedding:
        remember(_folder(tag) / NETWORK, card.contract.embedding, checked=True)
        embedder_of(card.contract.embedding)
    return Classifier(tag, card, NumpyMLP(config, card.contract, state))


def check_stored(tag: str) -> ModelCard:
    """Check every byte of a model like `load_stored`.

    Raises:
        ModelNotFound, ModelError: as for `load_stored`.
    """
    return _read_checked(tag)[0]


def _read_checked(tag: str) -> tuple[ModelCard, ModelConfig, State]:
    card = describe_stored(tag)
    weights = _read(tag, WEIGHTS)
    found = hashlib.sha256(weights).hexdigest()
    if found != card.weights_sha256:
        raise ModelError(f"{tag}: {WEIGHTS} has the SHA-256 {found[:16]}..., {CARD} says {card.weights_sha256[:16]}...")
    config = read_config(card, f"{tag}: {CARD}")
    with _prefix_errors(f"{tag}: {WEIGHTS}"):
        state = decode_weights(weights)
        check_fit(state, config, card.contract, card.known)
        check_finite(state)
    if card.contract.embedding:
        check_network(_read(tag, NETWORK), card.contract.embedding, f"{tag}: {NETWORK}")
    return card, config, state


def files_state(tag: str) -> FilesState:
    """Return a fingerprint that changes when a model's files are written, removed or unreadable; takes microseconds."""
    return tuple(_stat_of(_folder(tag) / name) for name in ("", WEIGHTS, CARD, NETWORK, "model.yaml"))


def _stat_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def describe_stored(tag: str) -> ModelCard:
    """Return a model's card, checked against the hash stored by BentoML.

    Raises:
        ModelNotFound, ModelError: as for `load_stored`.
    """
    _require_stored(tag)
    if _folder(tag).is_symlink():
        raise ModelError(f"{tag}: the model folder is a symbolic link; copy the folder itself into the store")
    _check_files(tag)
    content = _read(tag, CARD)
    if hashlib.sha256(content).hexdigest() != _recorded_card_hash(tag):
        raise ModelError(f"{tag}: {CARD} changed since it was saved")
    card = read_card(content, f"{tag}: {CARD}")
    if name_models(card.contract.name) != tag.partition(":")[0]:
        raise ModelError(f"{tag}: the model belongs to the catalogue {card.contract.name!r}, which the tag contradicts")
    return card


def copy_stored(tag: str, other_home: Path) -> None:
    """Copy a model into the store of another BENTOML_HOME.

    Raises:
        ModelNotFound: no such tag.
    """
    with store_lock():
        shutil.copytree(stored_folder(tag), other_home / "models" / _path_of(tag))


def name_models(catalogue: str) -> str:
    """Return the store's model name for a catalogue.

    Raises:
        ModelError: the name is already used for another catalogue.
    """
    if catalogue == DEFAULT:
        return NAME
    if (name := f"{catalogue}-mlp") == NAME:
        raise ModelError(f"catalogue {catalogue!r}: its model name would be that of {DEFAULT}; rename the catalogue")
    return name


def require_own(tag: str) -> None:
    """Require that a model belongs to the catalogue in use. Invalid tags pass; loading them raises.

    Raises:
        ModelError: the model belongs to another catalogue.
    """
    catalogue = catalogue_in_use()
    if EXACT_TAG.fullmatch(tag) and (found := tag.partition(":")[0]) != name_models(catalogue):
        raise ModelError(f"{tag}: the catalogue in use is {catalogue!r} ({VARIABLE}); {found!r} belongs to another")


def store_folder() -> Path:
    """Return the folder with the models of the catalogue in use."""
    return _models_folder() / name_models(catalogue_in_use())


def stored_folder(tag: str) -> Path:
    """Return the folder of a model.

    Raises:
        ModelNotFound: no such tag.
    """
    _require_stored(tag)
    return _folder(tag)


def card_sha256(tag: str) -> str:
    """Return the SHA-256 of a model's card, which contains that of its weights. The live-model pointer stores it.

    Raises:
        ModelError: the card cannot be read.
    """
    return hashlib.sha256(_read(tag, CARD)).hexdigest()


def store_lock() -> FileLock:
    """Return the lock for adding, changing, copying and removing model folders."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "store.lock", timeout=LOCK_TIMEOUT)


def list_stored() -> list[Stored]:
    """List the models of the catalogue in use, oldest first, then those without a readable card.

    Only the size of the weights is checked, as a flagship model has 44 MB of them; `check_stored` reads them.
    """
    folders = [path for path in store_folder().glob("*") if path.is_dir()]
    described = [(path, _try_to_describe(f"{path.parent.name}:{path.name}")) for path in folders]
    stored = [one for path, one in described if one.card or path.is_dir()]  # skip removed ones
    return sorted(stored, key=lambda one: (one.card is None, one.card.created_at if one.card else "", one.tag))


def _try_to_describe(tag: str) -> Stored:
    card = None
    try:
        card = describe_stored(tag)
        _check_size(tag, card)
        return Stored(tag, card)
    except FashionError as error:
        return Stored(tag, card, str(error))


def _check_size(tag: str, card: ModelCard) -> None:
    try:
        check_size(_folder(tag) / WEIGHTS, read_config(card, f"{tag}: {CARD}"), card.contract, card.known)
    except OSError as error:
        raise _unreadable(tag, WEIGHTS, error) from error
    except ModelError as error:
        raise ModelError(f"{tag}: {error}") from error


def _require_stored(tag: str) -> None:
    if not EXACT_TAG.fullmatch(tag):
        raise ModelNotFound(f"{tag!r} is not an exact tag: expected NAME-mlp:<version>; see 'fashion models'")
    if not _folder(tag).is_dir():
        raise ModelNotFound(f"{tag}: not in the store; see 'fashion models'")


def _folder(tag: str) -> Path:
    return _models_folder() / _path_of(tag)


def _path_of(tag: str) -> str:
    """The folder of a model in a store."""
    return tag.replace(":", "/", 1)


def _read(tag: str, name: str) -> bytes:
    path = _folder(tag) / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(tag, name, error) from error


def _unreadable(tag: str, name: str, error: OSError) -> ModelError:
    _require_stored(tag)  # the model may have been removed
    return ModelError(f"{tag}: {name} cannot be read: {error.strerror}")


def _check_files(tag: str) -> None:
    """Refuse unknown files, which could be loaded as code. A verdict or a bar being written is allowed."""
    unknown: list[str] = []
    with contextlib.suppress(FileNotFoundError):  # the model was removed; the next read reports that
        for entry in os.scandir(_folder(tag)):
            ours = entry.name.startswith((f".{VERDICT}.", f".{BARRED}."))
            being_written = ours and writer_of(Path(entry.name)) is not None
            if not being_written and (entry.name not in FILES or not entry.is_file(follow_symlinks=False)):
                unknown.append(entry.name)
    if unknown:
        raise ModelError(
            f"{tag}: unknown file {min(unknown)!r}; expected {', '.join(sorted(FILES))}, each a regular file"
        )


def _recorded_card_hash(tag: str) -> str:
    content = _read(tag, "model.yaml")
    try:
        return str(yaml.load(content, yaml.CSafeLoader)["metadata"]["card_sha256"])
    except Exception as error:  # of a damaged file: the reader raises more than YAMLError
        raise ModelError(f"{tag}: model.yaml cannot be read: {error}") from error


@contextlib.contextmanager
def _prefix_errors(where: str) -> Iterator[None]:
    """Prefix the message of a ModelError with its context."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
