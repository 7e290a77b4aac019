"""A frozen network in memory: the same vector everywhere, and no other file than the one that is named."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from networks import CELLS, SIDE, SIZE, embedding_of, kept_network, make_network
from PIL import Image

from components.contract import Embedding
from components.errors import ModelError
from components.networks import embedder
from components.networks.embedder import Embedder, check_network, embedder_of, frame, kept_path, path_of, remember


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has found no network yet."""
    monkeypatch.setattr(embedder, "_paths", {})
    monkeypatch.setattr(embedder, "_embedders", {})


def random_picture(mode: str = "RGB", size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(pixels if channels > 1 else pixels[..., 0], mode)


def test_the_vector_is_what_the_network_computes() -> None:
    picture = random_picture()
    found = Embedder(make_network(), embedding_of(make_network()), "here")(picture)
    cells = np.asarray(picture, np.float64).reshape(CELLS, SIDE // CELLS, CELLS, SIDE // CELLS, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found, (cells.transpose(2, 0, 1).ravel() + 1) / 255, rtol=1e-5)
    assert (str(found.dtype), found.shape) == ("float32", (SIZE,))


def test_many_photos_give_the_same_vectors_as_one_at_a_time() -> None:
    network = Embedder(make_network(), embedding_of(make_network()), "here")
    photos = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    one_by_one = np.concatenate([network.run(photo[None]) for photo in photos])
    np.testing.assert_allclose(network.run(photos), one_by_one, rtol=1e-6)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 30), (SIDE, SIDE)])
def test_any_picture_is_framed_as_a_colour_square(mode: str, size: tuple[int, int]) -> None:
    framed = frame(random_picture(mode, size), SIDE)
    assert (framed.shape, str(framed.dtype)) == ((SIDE, SIDE, 3), "uint8")


def test_transparency_becomes_white() -> None:
    assert frame(Image.new("RGBA", (8, 8), (200, 0, 0, 0)), SIDE).min() == 255
    assert frame(Image.new("LA", (8, 8), (0, 0)), SIDE).min() == 255


def test_a_network_is_read_once_although_threads_need_it_at_the_same_time(tmp_path: Path) -> None:
    embedding = kept_network(tmp_path).embedding
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: embedder_of(embedding), range(32)))
        vectors = list(threads.map(lambda one: one(random_picture()), found))
    assert len({id(one) for one in found}) == 1
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)


def test_a_changed_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    network = kept_network(tmp_path)
    (tmp_path / "tiny0.onnx").write_bytes(other := make_network(1))
    expected = rf"tiny0\.onnx: has the SHA-256 {embedding_of(other).sha256[:16]}.*{network.embedding.sha256[:16]}"
    with pytest.raises(ModelError, match=expected):
        embedder_of(network.embedding)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    embedding = embedding_of(make_network())
    with pytest.raises(ModelError, match=r"the network tiny\.onnx \(\w{12}\) is missing\. Ingest the photos again"):
        path_of(embedding)
    remember(kept_path(embedding, tmp_path), embedding)
    with pytest.raises(ModelError, match=rf"expected at {tmp_path}/networks/{embedding.sha256[:16]}\.onnx"):
        path_of(embedding)


def test_another_place_is_remembered_once_the_first_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    embedding = kept_network(tmp_path / "a").embedding
    (tmp_path / "b").mkdir()
    kept_network(tmp_path / "b")
    assert path_of(embedding).parent.name == "a"
    path_of(embedding).unlink()
    kept_network(tmp_path / "b")
    assert path_of(embedding).parent.name == "b"


@pytest.mark.parametrize("content", [b"", b"not a network", make_network()[:300]], ids=["empty", "text", "torn"])
def test_a_file_that_is_no_network_is_an_error_of_one_line(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"^here: not an ONNX network: [^\n]*$"):
        Embedder(content, embedding_of(content), "here")


@pytest.mark.parametrize(("size", "side"), [(47, 32), (48, 64)])
def test_a_network_of_other_sizes_is_refused(size: int, side: int) -> None:
    embedding = Embedding("tiny.onnx", "0" * 64, size, side, size)
    with pytest.raises(ModelError, match=r"here: takes and returns \[\[32, 32, 3\], \[48\]\], expected"):
        Embedder(make_network(), embedding, "here")


def test_without_onnx_runtime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"here: needs ONNX Runtime; install the extra photos: pip install"):
        Embedder(make_network(), embedding_of(make_network()), "here")


def test_the_right_file_passes_the_check() -> None:
    check_network(make_network(), embedding_of(make_network()), "here")
