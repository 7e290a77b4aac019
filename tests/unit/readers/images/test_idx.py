"""IDX archives."""

import gzip
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from noises import noise

from components.errors import SourceError
from components.readers.images.idx import encode_idx, read_idx


def write_idx(folder: Path, content: bytes) -> Path:
    """An archive whose unpacked bytes are `content`."""
    path = folder / "some-ubyte.gz"
    path.write_bytes(gzip.compress(content))
    return path


def idx_header(*dimensions: int) -> bytes:
    return bytes((0, 0, 8, len(dimensions))) + struct.pack(f">{len(dimensions)}I", *dimensions)


@pytest.mark.parametrize("shape", [(5, 28, 28), (0, 28, 28), (7,), (0,)])
def test_an_idx_file_is_read_as_it_was_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = noise(*shape)
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(encode_idx(values))
    read = read_idx(path, shape[1:])
    assert read.dtype == np.uint8
    assert read.shape == shape
    assert np.array_equal(read, values)


def test_the_header_is_that_of_the_mnist_family() -> None:
    assert gzip.decompress(encode_idx(noise(3, 28, 28)))[:16].hex() == "00000803000000030000001c0000001c"
    assert gzip.decompress(encode_idx(noise(3)))[:8].hex() == "0000080100000003"


def test_the_same_values_give_the_same_idx_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode_idx(noise(5, 28, 28))
    monkeypatch.setattr(time, "time", lambda: 1.0)  # gzip would write the time of day
    assert encode_idx(noise(5, 28, 28)) == first
    assert encode_idx(noise(5, 28, 28, seed=1)) != first


@pytest.mark.parametrize(("kept", "appended"), [(-9, b""), (-1, b""), (20, b""), (5, b""), (None, b"garbage")], ids=str)
def test_a_damaged_gzip_is_refused(tmp_path: Path, kept: int | None, appended: bytes) -> None:
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(encode_idx(noise(5, 28, 28))[:kept] + appended)
    with pytest.raises(SourceError, match=r"some-ubyte\.gz: damaged or truncated gzip file"):
        read_idx(path, (28, 28))


def test_a_flipped_bit_in_a_gzip_is_refused(tmp_path: Path) -> None:
    content = bytearray(encode_idx(noise(5, 28, 28)))
    content[len(content) // 2] ^= 1
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="damaged or truncated gzip file"):
        read_idx(path, (28, 28))


def test_a_file_that_is_not_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(idx_header(1) + b"\0")
    with pytest.raises(SourceError, match="damaged or truncated gzip file"):
        read_idx(path, ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found magic number , expected 00000803"),
        (idx_header(784) + bytes(784), "found magic number 00000801, expected 00000803"),
        (b"\0\0\x0d\3" + idx_header(1, 28, 28)[4:] + bytes(784), "found magic number 00000d03"),
        (b"\x89PNG" + bytes(800), "found magic number 89504e47"),
        (idx_header(1, 28, 28)[:15], "the file ends within its header"),
        (idx_header(1, 28, 28)[:4], "the file ends within its header"),
        (idx_header(1, 28, 27) + bytes(756), r"found items of shape \(28, 27\), expected \(28, 28\)"),
        (idx_header(2, 28, 28) + bytes(2 * 784 - 1), "found 1,567 bytes of data, expected 1,568"),
        (idx_header(2, 28, 28) + bytes(2 * 784 + 1), "found 1,569 bytes of data, expected 1,568"),
        (idx_header(2**32 - 1, 28, 28) + bytes(784), "found 784 bytes of data, expected 3,367"),
    ],
)
def test_an_invalid_idx_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=rf"some-ubyte\.gz: {message}"):
        read_idx(write_idx(tmp_path, content), (28, 28))
