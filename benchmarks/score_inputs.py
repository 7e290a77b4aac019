"""The inputs of `benchmarks.score`: the training images, repeated as often as needed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Images
from components.readers.images.photos import write_png
from components.readers.tables.columns import pixel_columns

ROW_GROUP = 20_000  # rows


def write_csv(folder: Path, images: Images, rows: int) -> Path:
    """Write a CSV with the columns label,pixel1,...,pixel784; all labels are 0."""
    path = folder / f"{rows}.csv"
    if not path.exists():
        pixels = take(images, 0, rows).reshape(-1, CONTRACT.image.size)
        columns = [np.zeros(rows, np.uint8), *np.ascontiguousarray(pixels.T)]
        names = ["label", *pixel_columns(CONTRACT.image)]
        plain = pyarrow.csv.WriteOptions(quoting_header="none", quoting_style="none")
        pyarrow.csv.write_csv(pa.table([pa.array(column) for column in columns], names), path, plain)
    return path


def write_parquet(folder: Path, images: Images, rows: int) -> Path:
    """Write a Parquet file with the column pixels, 784 bytes per row."""
    path = folder / f"{rows}.parquet"
    if not path.exists():
        schema = pa.schema([("pixels", pa.binary(CONTRACT.image.size))])
        with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
            for start in range(0, rows, ROW_GROUP):
                pixels = take(images, start, min(start + ROW_GROUP, rows))
                buffers = [None, pa.py_buffer(np.ascontiguousarray(pixels))]
                column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(CONTRACT.image.size), len(pixels), buffers)
                writer.write_table(pa.table([column], schema), ROW_GROUP)
    return path


def write_pictures(folder: Path, images: Images, count: int) -> Path:
    """Write PNG files to a folder."""
    path = folder / "pictures"
    path.mkdir(exist_ok=True)
    for number, image in enumerate(take(images, 0, count)):
        (path / f"{number:06}.png").write_bytes(write_png(image))
    return path


def take(images: Images, start: int, stop: int) -> Images:
    """Rows start to stop of the endlessly repeated images."""
    found: Images = images[np.arange(start, stop) % len(images)]
    return found
