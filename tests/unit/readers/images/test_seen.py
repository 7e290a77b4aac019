"""What a model saw, as a PNG that comes back with a correction."""

import contextlib
import io

import numpy as np
import pytest
from networks import contract_with, draw_records, embedding_of, make_network
from PIL import Image, PngImagePlugin

from components.catalogues.fashion_mnist import CONTRACT as PIXELS
from components.contract import Images
from components.errors import InputError
from components.readers.images.photos import write_png
from components.readers.images.seen import CHUNK, read_seen, write_seen

CONTRACT = contract_with(embedding_of(make_network()))
RECORD = draw_records(CONTRACT, 1)[0]


def encode(picture: Images, *vectors: bytes, form: str = "PNG") -> bytes:
    file, extra = io.BytesIO(), PngImagePlugin.PngInfo()
    for vector in vectors:
        extra.add(CHUNK, vector)
    Image.fromarray(picture).save(file, form, **({"pnginfo": extra} if form == "PNG" else {}))
    return file.getvalue()


def test_a_record_survives_the_round_trip() -> None:
    content = write_seen(RECORD)
    found = read_seen(content, CONTRACT, "seen")
    assert (found.shape, found.dtype) == ((1,), CONTRACT.dtype)
    assert found.tobytes() == RECORD.tobytes()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), RECORD["picture"]), "viewers show the picture"


def test_pixels_survive_it_too() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    assert np.array_equal(read_seen(write_seen(image), PIXELS, "seen")[0], image)


VECTOR = RECORD["vector"].tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        write_png(RECORD["picture"]),
        encode(RECORD["picture"], VECTOR[:-4]),
        encode(RECORD["picture"], VECTOR[:-1]),
        encode(RECORD["picture"], VECTOR, VECTOR),
        encode(RECORD["picture"], np.full(48, np.nan, np.float32).tobytes()),
        encode(RECORD["picture"][..., 0], VECTOR),
        encode(np.zeros((17, 16, 3), np.uint8), VECTOR),
        encode(RECORD["picture"], form="BMP"),
        write_seen(RECORD)[:-60],
        write_seen(RECORD) + bytes(1 << 20),
    ],
    ids=["empty", "torn", "no vector", "short", "odd", "two", "NaN", "grey", "larger", "BMP", "no end", "long"],
)
def test_another_picture_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^seen: expected a PNG of 16 x 16 pixels, as /classify returns it$"):
        read_seen(content, CONTRACT, "seen")


@pytest.mark.parametrize("chunk", [b"cHRM", b"gAMA", b"pHYs", b"tRNS", b"iCCP", b"acTL", b"eXIf", b"iTXt"])
def test_a_damaged_chunk_is_refused_or_ignored(chunk: bytes) -> None:
    file, extra = io.BytesIO(), PngImagePlugin.PngInfo()
    extra.add(chunk, b"odd")
    extra.add(CHUNK, VECTOR)
    Image.fromarray(RECORD["picture"]).save(file, "PNG", pnginfo=extra)
    with contextlib.suppress(InputError):
        assert read_seen(file.getvalue(), CONTRACT, "seen").tobytes() == RECORD.tobytes()
