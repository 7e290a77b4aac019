"""Networks by name or path: what is found, what is refused, and how the file is kept."""

from pathlib import Path

import pytest
from networks import SIDE, SIZE, make_network, write_network

from components.contract import Embedding
from components.errors import ModelError, SettingsError
from components.files import sha256_of
from components.networks import sources
from components.networks.embedder import kept_path, path_of
from components.networks.sources import Network, check_sizes, is_kept, is_named, keep_network, read_network


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return read_network(str(write_network(tmp_path / "tiny.onnx")))


def test_a_file_is_a_network_of_its_name_hash_and_sizes(network: Network, tmp_path: Path) -> None:
    assert (network.embedding.network, network.embedding.size, network.embedding.side) == ("tiny.onnx", SIZE, SIDE)
    again = read_network(str(write_network(tmp_path / "other.onnx")))
    assert (again.content, again.embedding.sha256) == (network.content, network.embedding.sha256)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", r"found 'resnet', expected efficientnet-lite0, .*torchvision/MODEL, or a \.onnx or \.safetensors"),
        ("missing.onnx", r"network missing\.onnx: cannot be read: No such file"),
        ("missing.safetensors", r"network missing\.safetensors: cannot be read: No such file"),
        ("torchvision/nothing", "network 'nothing': torchvision has no such classifier"),
    ],
)
def test_an_unknown_name_is_an_error(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_network(name)


def test_a_file_that_is_no_network_or_too_large_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("not a network")
    with pytest.raises(ModelError, match="not an ONNX network"):
        read_network(str(path))
    monkeypatch.setattr(sources, "LARGEST", 1)
    with pytest.raises(SettingsError, match=r"text\.onnx: larger than"):
        read_network(str(path))


def test_a_network_is_kept_once_and_restored_if_it_changes(network: Network, tmp_path: Path) -> None:
    folder, embedding = tmp_path / "datasets", network.embedding
    assert not is_kept(embedding, folder)
    for _ in range(2):
        keep_network(network, folder)
        assert [path.name for path in (folder / "networks").iterdir()] == [f"{embedding.sha256[:16]}.onnx"]
    kept_path(embedding, folder).write_bytes(make_network(1))
    assert not is_kept(embedding, folder)
    keep_network(network, folder)
    assert is_kept(embedding, folder)
    assert sha256_of(path_of(embedding)) == embedding.sha256


def test_a_name_stands_for_a_network_that_need_not_be_built_but_a_file_may_have_changed() -> None:
    assert is_named("efficientnet-lite0", Embedding("efficientnet-lite0", "0" * 64, 1280, 224, 1280))
    assert not is_named("efficientnet-lite1", Embedding("efficientnet-lite0", "0" * 64, 1280, 224, 1280))
    assert not is_named("tiny.onnx", Embedding("tiny.onnx", "0" * 64, 48, 32, 48))


@pytest.mark.parametrize(("size", "side"), [(0, 32), (65_537, 32), (1, 31), (1, 1025)])
def test_sizes_have_bounds(size: int, side: int) -> None:
    with pytest.raises(ValueError, match=r"less than or equal|greater than or equal"):
        check_sizes(Embedding("tiny", "0" * 64, size, side, size))
