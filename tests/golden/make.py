"""Write the golden inputs anew: `.venv/bin/python tests/golden/make.py`. The outputs beside them are checked by eye."""

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
PIXELS = [f"pixel{number}" for number in range(1, 785)]
IDS, LABELS, SKUS = ["shirt 1", "0,5", "-7"], [3, 1, 8], ["=1+1", "S;2", "Größe 3"]


def drawn() -> list[list[int]]:
    """Three pictures: a box, a frame and a ramp."""
    images = np.zeros((3, 28, 28), np.uint8)
    images[0, 8:20, 6:22] = 200
    images[1, 4:24, 4:24] = 90
    images[1, 8:20, 8:20] = 0
    images[2, 10:18] = np.arange(28) * 9
    return images.reshape(3, 784).tolist()


def lines(columns: Mapping[str, Sequence[object]], end: str = "\n", **options: object) -> bytes:
    """Columns as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, **options)  # type: ignore[arg-type]
    writer.writerows([columns, *zip(*columns.values(), strict=True)])
    return text.getvalue().encode()


def write_all(folder: Path) -> None:
    """One file a form."""
    pixels: dict[str, Sequence[object]] = dict(zip(PIXELS, map(list, zip(*drawn(), strict=True)), strict=True))
    plain = lines({**pixels})
    named: dict[str, Sequence[object]] = {"id": ["a", "b", "c"], "label": LABELS, **pixels}
    backwards = dict(reversed(named.items()))
    (folder / "plain.in.csv").write_bytes(plain)
    (folder / "named.in.csv").write_bytes(lines(named))
    (folder / "backwards.in.csv").write_bytes(lines(backwards))
    (folder / "windows.in.csv").write_bytes(b"\xef\xbb\xbf" + lines(named, end="\r\n"))
    (folder / "quoted.in.csv").write_bytes(lines({**named, "id": IDS}, quoting=csv.QUOTE_ALL))
    (folder / "semicolon.in.csv").write_bytes(lines({"sku": SKUS, **named}, delimiter=";"))
    (folder / "gzip.in.csv.gz").write_bytes(gzip.compress(plain, mtime=0))
    with pa.output_stream(str(folder / "zstd.in.csv.zst"), compression="zstd") as file:
        file.write(plain)
    images = pa.array([bytes(image) for image in drawn()], pa.binary(784))
    table = pa.table({"id": IDS, "pixels": images, "price": pa.array([1.5, None, -2.0])})
    pq.write_table(table, folder / "bytes.in.parquet")
    columns = pa.table({name: pa.array(column, pa.uint8()) for name, column in pixels.items()})
    pq.write_table(
        columns, folder / "columns.in.parquet", use_dictionary=False, write_statistics=False, store_schema=False
    )


if __name__ == "__main__":
    write_all(HERE)
