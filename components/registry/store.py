"""Weights and JSON <-> the BentoML model store. The only module that imports bentoml, and only its model store.

BentoML copies a model file by file into its final place, with no lock and no checksum. Here it makes the model in a
store of its own, and the finished folder is renamed into place: whoever looks sees all of it or nothing.

    BENTOML_HOME/models/NAME-mlp/<version>/weights.safetensors   float32, no pickle
                                           model.json            the ModelCard, with the weights' SHA-256
                                           model.yaml            BentoML's, with the SHA-256 of model.json
                                           README.md             the card for people, from what was measured
                                           verdict.json          what the gate said of it last, if it was asked

NAME is the catalogue's, and "fashion" for Fashion-MNIST.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
import orjson
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from filelock import FileLock

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
from components.model.config import ModelConfig
from components.model.readme import write_readme
from components.model.weights import check_finite, check_fit, check_size, decode_weights
from components.telemetry import disable_telemetry

if TYPE_CHECKING:
    from components.model.classifier import Classifier
    from components.model.mlp import MLP

disable_telemetry()  # else BentoML reports every save

NAME = "fashion-mlp"  # of Fashion-MNIST's models, as it always was
BUNDLED = "fashion-bundled"  # the alias under which a built Bento knows the model inside it
EXACT_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,39}-mlp:[a-z0-9]{8,64}")
LOCK_TIMEOUT = 120  # seconds to wait for another save

FilesState = tuple[tuple[int, ...] | None, ...]

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
    problem: str = ""  # what is wrong with it, as far as it shows without reading the weights


def bentoml_home() -> Path:
    """BENTOML_HOME, as BentoML has it now."""
    return Path(BentoMLContainer.bentoml_home.get())


def home(of: Path | None = None) -> Path:
    """Our folder for the catalogue in use: the live-model pointer, its history, the locks.

    Args:
        of: a BENTOML_HOME; None: this process's.
    """
    return in_catalogue((of or bentoml_home()) / "fashion", catalogue_in_use())


def bundled_tag() -> str | None:
    """The exact tag of the model inside the running Bento, or None outside a built one."""
    aliases: dict[str, str] = BentoMLContainer.model_aliases.get()
    return aliases.get(BUNDLED)


def use_own_models() -> None:
    """Look for models in BENTOML_HOME; a Bento that carries its model, as in a container, has BentoML look in that."""
    BentoMLContainer.model_store.reset()


def save_model(network: "MLP", card: ModelCard) -> str:
    """Store a network and what is known of it.

    Returns:
        Its exact tag, "<name>-mlp:<version>".

    Raises:
        ModelError: a weight is not finite.
    """
    from safetensors.torch import save

    weights = save({name: weight.contiguous() for name, weight in network.state_dict().items()})
    with _naming("the network"):
        check_finite(decode_weights(weights))
    card = replace(card, weights_sha256=hashlib.sha256(weights).hexdigest())
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
        flush_tree(staging / tag.path())  # here, because others wait for the lock
        with store_lock():
            move_folder(staging / tag.path(), _folder(str(tag)))
            write_whole(_folder(str(tag)).with_name("latest"), str(tag.version).encode())
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return str(tag)


def load_stored(tag: str) -> "Classifier":
    """Load a model by its exact tag, every byte checked.

    Raises:
        ModelNotFound: no such tag.
        ModelError: a file that is missing, changed or unknown, weights that do not fit the network, or are not finite.
    """
    from safetensors.torch import load

    from components.model.classifier import Classifier
    from components.model.mlp import MLP

    card, config, weights = _read_checked(tag)
    network = MLP(config, card.contract)
    network.load_state_dict(load(weights))
    return Classifier(tag, card, network.eval())


def check_stored(tag: str) -> ModelCard:
    """Check every byte of a model as `load_stored` does, but without torch, whose import takes two seconds.

    Raises:
        ModelNotFound, ModelError: as for `load_stored`.
    """
    return _read_checked(tag)[0]


def _read_checked(tag: str) -> tuple[ModelCard, ModelConfig, bytes]:
    card = describe_stored(tag)
    weights = _read(tag, WEIGHTS)
    found = hashlib.sha256(weights).hexdigest()
    if found != card.weights_sha256:
        raise ModelError(f"{tag}: {WEIGHTS} has the SHA-256 {found[:16]}..., {CARD} says {card.weights_sha256[:16]}...")
    config = read_config(card, f"{tag}: {CARD}")
    with _naming(f"{tag}: {WEIGHTS}"):
        state = decode_weights(weights)
        check_fit(state, config, card.contract)
        check_finite(state)
    return card, config, weights


def files_state(tag: str) -> FilesState:
    """What differs once a model's files were written, removed or made unreadable: a look that costs microseconds."""
    return tuple(_stat_of(_folder(tag) / name) for name in ("", WEIGHTS, CARD, "model.yaml"))


def _stat_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def describe_stored(tag: str) -> ModelCard:
    """A model's card, checked against the hash that BentoML keeps of it.

    Raises:
        ModelNotFound, ModelError: as for `load_stored`.
    """
    _require_stored(tag)
    if _folder(tag).is_symlink():
        raise ModelError(f"{tag}: its folder is a symbolic link, expected the folder itself; copy it into the store")
    _check_files(tag)
    content = _read(tag, CARD)
    if hashlib.sha256(content).hexdigest() != _recorded_card_hash(tag):
        raise ModelError(f"{tag}: {CARD} changed since it was saved")
    card = read_card(content, f"{tag}: {CARD}")
    if name_models(card.contract.name) != tag.partition(":")[0]:
        raise ModelError(f"{tag}: it is a model of the catalogue {card.contract.name!r}, kept under another's name")
    return card


def copy_stored(tag: str, other_home: Path) -> None:
    """Copy a model into the store of another BENTOML_HOME.

    Raises:
        ModelNotFound: no such tag.
    """
    with store_lock():
        shutil.copytree(stored_folder(tag), other_home / "models" / bentoml.Tag.from_taglike(tag).path())


def name_models(catalogue: str) -> str:
    """What the store calls the models of a catalogue.

    Raises:
        ModelError: another catalogue's models are called so.
    """
    if catalogue == DEFAULT:
        return NAME
    if (name := f"{catalogue}-mlp") == NAME:
        raise ModelError(f"a catalogue called {catalogue!r} would have the models of {DEFAULT}; rename it")
    return name


def require_own(tag: str) -> None:
    """Refuse a model of a catalogue that is not in use; whoever loads it says what is no tag at all.

    Raises:
        ModelError: it is one.
    """
    catalogue = catalogue_in_use()
    if EXACT_TAG.fullmatch(tag) and (found := tag.partition(":")[0]) != name_models(catalogue):
        raise ModelError(f"{tag}: the catalogue in use is {catalogue!r} ({VARIABLE}), {found!r} is another's models")


def store_folder() -> Path:
    """Where the models of the catalogue in use are."""
    return Path(BentoMLContainer.model_store.get()._path) / name_models(catalogue_in_use())


def stored_folder(tag: str) -> Path:
    """Where the files of a model are.

    Raises:
        ModelNotFound: no such tag.
    """
    _require_stored(tag)
    return _folder(tag)


def card_sha256(tag: str) -> str:
    """SHA-256 of a model's card, which holds that of its weights: what the live-model pointer keeps of a model.

    Raises:
        ModelError: the card cannot be read.
    """
    return hashlib.sha256(_read(tag, CARD)).hexdigest()


def store_lock() -> FileLock:
    """Held while a model's folder appears, changes, is copied or goes."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "store.lock", timeout=LOCK_TIMEOUT)


def list_stored() -> list[Stored]:
    """Every model of the catalogue in use, oldest first; those without a card that can be read come last.

    Of the weights only the size is checked: a flagship model has 44 MB of them. `check_stored` reads them.
    """
    folders = [path for path in store_folder().glob("*") if path.is_dir()]
    described = [(path, _try_to_describe(f"{path.parent.name}:{path.name}")) for path in folders]
    stored = [one for path, one in described if one.card or path.is_dir()]  # not those that went meanwhile
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
        check_size(_folder(tag) / WEIGHTS, read_config(card, f"{tag}: {CARD}"), card.contract)
    except OSError as error:
        raise _unreadable(tag, WEIGHTS, error) from error
    except ModelError as error:
        raise ModelError(f"{tag}: {error}") from error


def _require_stored(tag: str) -> None:
    if not EXACT_TAG.fullmatch(tag):
        raise ModelNotFound(f"{tag!r} is not an exact tag; expected NAME-mlp:<version>, see 'fashion models'")
    if not _folder(tag).is_dir():
        raise ModelNotFound(f"{tag}: not in the store; see 'fashion models'")


def _folder(tag: str) -> Path:
    return Path(BentoMLContainer.model_store.get()._path) / bentoml.Tag.from_taglike(tag).path()


def _read(tag: str, name: str) -> bytes:
    path = _folder(tag) / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(tag, name, error) from error


def _unreadable(tag: str, name: str, error: OSError) -> ModelError:
    _require_stored(tag)  # it may have gone meanwhile
    return ModelError(f"{tag}: {name} cannot be read: {error.strerror}")


def _check_files(tag: str) -> None:
    """Nothing that somebody might load as code lies among them, but for a verdict that is being written."""
    unknown: list[str] = []
    with contextlib.suppress(FileNotFoundError):  # the model went meanwhile; whoever reads its files next says so
        for entry in os.scandir(_folder(tag)):
            being_written = writer_of(Path(entry.name)) is not None and entry.name.startswith(f".{VERDICT}.")
            if not being_written and (entry.name not in FILES or not entry.is_file(follow_symlinks=False)):
                unknown.append(entry.name)
    if unknown:
        raise ModelError(f"{tag}: unknown file {min(unknown)!r}; a model has {', '.join(sorted(FILES))}, each a file")


def _recorded_card_hash(tag: str) -> str:
    try:
        metadata = bentoml.models.get(tag).info.metadata
    except Exception as error:  # a damaged file makes it raise whatever its YAML reader and converters do
        _require_stored(tag)
        raise ModelError(f"{tag}: BentoML cannot read its model.yaml: {error}") from error
    return str(metadata.get("card_sha256"))


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    """Put before an error what it is about."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
