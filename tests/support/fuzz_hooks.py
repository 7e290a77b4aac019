"""Schemathesis hooks: generate pictures, tables and raw images, which cannot be derived from the OpenAPI schema."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import schemathesis
from hypothesis import strategies as st
from PIL import Image
from readings import PIXEL_COLUMNS

from components.scoring.sanity import INVERT, MULTIPLY

MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB"),
}


@st.composite
def pictures(draw: st.DrawFn, form: str, odd_exif: bool = False) -> bytes:
    """A small picture file in any mode of the format, possibly with invalid EXIF data."""
    width, height = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    pixels = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (height, width, 3), np.uint8)
    mode = draw(st.sampled_from(MODES[form]))
    picture = Image.fromarray(pixels).convert("I" if mode == "I;16" else mode).convert(mode)
    kept = {}
    if odd_exif and form in {"PNG", "JPEG", "WEBP"}:
        kept["exif"] = b"Exif\0\0" + draw(st.sampled_from([b"II*\0", b"MM\0*"])) + draw(st.binary(max_size=60))
    file = io.BytesIO()
    picture.save(file, form, **kept)
    return file.getvalue()


def tables() -> st.SearchStrategy[bytes]:
    rows = st.integers(0, 255).map(lambda value: ",".join([str(value)] * len(PIXEL_COLUMNS)))
    return st.lists(rows, max_size=3).map(lambda lines: "\n".join([",".join(PIXEL_COLUMNS), *lines, ""]).encode())


@st.composite
def parquet_tables(draw: st.DrawFn) -> bytes:
    """Like the project's datasets: 784 bytes per image, some missing."""
    pixels = draw(st.lists(st.integers(0, 255).map(lambda value: bytes([value]) * 784) | st.none(), max_size=4))
    columns = {"pixels": pa.array(pixels, pa.binary(784))}
    if draw(st.booleans()):
        columns["label"] = pa.array([draw(st.integers(0, 11)) for _ in pixels], pa.int64())
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, write_page_checksum=draw(st.booleans()))
    return file.getvalue()


for form in MODES:
    schemathesis.openapi.media_type(f"image/{form.lower()}", pictures(form))
schemathesis.openapi.media_type("text/csv", tables())
schemathesis.openapi.media_type("application/vnd.apache.parquet", parquet_tables())
schemathesis.openapi.media_type("application/x-parquet", parquet_tables())
schemathesis.openapi.media_type("application/octet-stream", st.binary(min_size=1, max_size=3).map(lambda b: b * 784))


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Convert 212.0 to 212: both are integers in JSON Schema, but the service takes floats for scaled pixels.

    Also wrap single files in a list, because schemathesis flattens lists of files with their own media types.
    """
    if isinstance(body, dict):
        return {key: [value] if isinstance(value, bytes) else map_body(context, value) for key, value in body.items()}
    if isinstance(body, list):
        return [map_body(context, value) for value in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body


@schemathesis.hook
def filter_failure(context: schemathesis.HookContext, failure: Any, case: Any, response: Any) -> bool:
    """Ignore correct refusals that the schema cannot express: wrong images, missing pixels, files without a name."""
    return not any(reason in response.text for reason in ("it has no file name", MULTIPLY, INVERT, "missing 784 col"))
