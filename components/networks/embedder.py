"""Turn a photo into a vector with a frozen network: the same function in ingest, training, service and scoring.

A network is one ONNX file that takes pixels and returns a vector. A file is found by the SHA-256 of its content, which
the data contract names: a dataset has its network in its folder, a stored model has it beside its weights.
"""

import hashlib
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.contract import Embedding
from components.errors import ModelError
from components.telemetry import disable_telemetry

if TYPE_CHECKING:
    import onnxruntime

Vector = NDArray[np.float32]  # (size,)

INSTALL = "install the extra photos: pip install 'fashion[photos]'"

FOLDER = "networks"  # below the datasets folder
KEPT = 2 / 3  # of a photo's longer side, at least

_paths = dict[str, Path]()  # SHA-256 -> where this process expects the file
_embedders = dict[str, "Embedder"]()  # SHA-256 -> the loaded network, kept until the process ends
_loading = Lock()


class Embedder:
    """A frozen network in memory, run by ONNX Runtime on one thread per call. Calls may be concurrent.

    Raises:
        ModelError: the file is not such a network, or ONNX Runtime is not installed.
    """

    def __init__(self, content: bytes, embedding: Embedding, where: object) -> None:
        self.embedding, self._session = embedding, open_session(content, where)
        taken, made = self._session.get_inputs(), self._session.get_outputs()
        shapes = [one.shape[1:] for one in (*taken, *made)]
        if shapes != [[embedding.side, embedding.side, 3], [embedding.size]]:
            expected = f"{embedding.side} x {embedding.side} x 3 to {embedding.size} values"
            raise ModelError(f"{where}: takes and returns {shapes}, expected {expected}")
        self._names = [made[0].name], taken[0].name

    def __repr__(self) -> str:
        return f"Embedder({self.embedding}: {self.embedding.size} values)"

    def __call__(self, picture: Image.Image) -> Vector:
        """Return the vector of an upright picture, mode L, LA, RGB or RGBA: float32 (size,)."""
        return np.asarray(self.run(frame(picture, self.embedding.side)[None])[0])

    def run(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vectors, float32 (n, size), of framed photos, uint8 (n, side, side, 3)."""
        names, taken = self._names
        return np.asarray(self._session.run(names, {taken: photos})[0], np.float32)


def frame(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """Cut out the centre of a picture: uint8 (side, side, 3), red, green, blue. Transparency becomes white.

    The centre is a square, but at least two thirds of the longer side, which a very long picture is squeezed into.
    """
    if "A" in picture.getbands():
        whole = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    kept = [min(edge, max(min(picture.size), KEPT * max(picture.size))) for edge in picture.size]
    left, top = ((edge - own) / 2 for edge, own in zip(picture.size, kept, strict=True))
    centre = (left, top, left + kept[0], top + kept[1])
    return np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR, centre))


def open_session(content: bytes, where: object) -> "onnxruntime.InferenceSession":
    """Open an ONNX network on one thread of the CPU.

    Raises:
        ModelError: the content is not an ONNX network, or ONNX Runtime is not installed.
    """
    disable_telemetry()
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModelError(f"{where}: needs ONNX Runtime; {INSTALL}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a damaged file raises any of ONNX Runtime's own errors
        raise ModelError(f"{where}: not an ONNX network: {str(error).splitlines()[0]}") from error


def check_network(content: bytes, embedding: Embedding, where: object) -> None:
    """Check that a file is the network that a contract names.

    Raises:
        ModelError: it is not.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != embedding.sha256:
        raise ModelError(f"{where}: has the SHA-256 {found[:16]}..., expected {embedding.sha256[:16]}...")


def kept_path(embedding: Embedding, datasets: Path) -> Path:
    """Where a datasets folder has the file of a network."""
    return datasets / FOLDER / f"{embedding.sha256[:16]}.onnx"


def remember(path: Path, embedding: Embedding, checked: bool = False) -> None:
    """Tell this process where a network's file is; it is read and checked when it is first used.

    The first copy is used as long as it exists, unless another was just `checked`: the first may be damaged.
    """
    if checked or (known := _paths.get(embedding.sha256)) is None or not known.is_file():
        _paths[embedding.sha256] = path


def path_of(embedding: Embedding) -> Path:
    """Where the file of a network is.

    Raises:
        ModelError: no dataset or model of this process has it.
    """
    path = _paths.get(embedding.sha256)
    if path is None or not path.is_file():
        where = f"; expected at {path}" if path else ""
        restore = f"Ingest the photos again with --network {embedding.network} to restore it"
        raise ModelError(f"the network {embedding} is missing{where}. {restore}")
    return path


def read_network_file(embedding: Embedding) -> bytes:
    """The file of a network.

    Raises:
        ModelError: it is missing, cannot be read, or changed.
    """
    path = path_of(embedding)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    check_network(content, embedding, path)
    return content


def embedder_of(embedding: Embedding) -> Embedder:
    """The network of a contract, loaded once per process.

    Raises:
        ModelError: its file is missing or changed, or ONNX Runtime is not installed.
    """
    found = _embedders.get(embedding.sha256)
    if found is None:
        with _loading:
            found = _embedders.get(embedding.sha256)
            if found is None:
                content = read_network_file(embedding)
                found = _embedders[embedding.sha256] = Embedder(content, embedding, path_of(embedding))
    return found
