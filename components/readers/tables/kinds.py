"""Detect the kind of a file by its first bytes, whatever its name."""

import re
from dataclasses import dataclass

from components.errors import InputError

HEAD = 1024  # bytes needed for detection; a tar has its magic number at 257
EXPORT = "Export it as CSV"
PICKLE = "Pickles run code when loaded, so they are never read. Save arrays with np.save, or tables as Parquet"


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str  # with an article: "an Excel workbook"
    read_as: str = ""  # reader of this kind; "" if it is not supported
    advice: str = ""  # what to do with an unsupported kind


CSV, PARQUET = Kind("CSV or other text", "csv"), Kind("Parquet", "parquet")
NPY, IDX, LINES = Kind("a NumPy array", "npy"), Kind("an IDX file", "idx"), Kind("JSON lines", "jsonl")
ZIP, TAR, PICTURE = Kind("a zip archive", "zip"), Kind("a tar archive", "tar"), Kind("a picture", "picture")
WORKBOOK = Kind("an Excel workbook", advice=EXPORT)
SIGNATURES: tuple[tuple[bytes, Kind], ...] = (  # regular expression for the first bytes, kind
    (rb"PAR1", PARQUET),
    (rb"PARE", Kind("encrypted Parquet", advice="Decrypt it first")),
    (rb"\x93NUMPY", NPY),
    (rb"\x00\x00[\x08\x09\x0b-\x0e][\x01-\x04]", IDX),
    (rb"PK(\x03\x04|\x05\x06)", ZIP),
    (rb".{257}ustar", TAR),
    (
        rb"\x1f\x8b|BZh|\xfd7zXZ\x00|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18",
        Kind("a compressed file", advice="Decompress it first"),
    ),
    (rb"ARROW1\x00\x00|FEA1", Kind("an Arrow (Feather) file", advice="Save it as Parquet: df.to_parquet(...)")),
    (rb"\xff\xff\xff\xff....\x10\x00\x00\x00", Kind("an Arrow stream", advice="Save it as Parquet")),
    (rb"\x80[\x02-\x05].*[.cq(]|\x80\x04\x95|\x80\x05\x95", Kind("a Python pickle", advice=PICKLE)),
    (rb"\x89HDF\r\n", Kind("an HDF5 file", advice="Save its array with np.save, or its table as Parquet")),
    (rb"SQLite format 3\x00", Kind("an SQLite database", advice="Export the table as CSV or Parquet")),
    (rb".{8}DUCK", Kind("a DuckDB database", advice="Export the table: COPY t TO 'in.parquet'")),
    (rb"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", advice="Extract it, or convert it to .zip or .tar.gz")),
    (rb"Rar!\x1a\x07", Kind("a RAR archive", advice="Extract it, or convert it to .zip or .tar.gz")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", WORKBOOK),
    (rb"Obj\x01", Kind("an Avro file", advice="Save it as Parquet or CSV")),
    (rb"ORC", Kind("an ORC file", advice="Save it as Parquet or CSV")),
    (rb"MATLAB 5\.0 MAT-file", Kind("a MATLAB file", advice="Save its array with np.save")),
    (rb"%PDF-", Kind("a PDF", advice="Extract its pictures or tables")),
    (rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|BM....\x00\x00\x00\x00", PICTURE),
    (rb"\s*<(!doctype html|html)", Kind("an HTML page", advice="The download returned a web page, not the file")),
    (rb"\s*<\?xml", Kind("XML", advice="Save it as CSV or Parquet")),
    (rb"\s*\{", LINES),
    (rb"\s*\[\s*[\[{]", Kind("a JSON array", advice="Write one object per line (JSON lines)")),
    (rb"version https://git-lfs", Kind("a Git LFS pointer", advice="Run git lfs pull to fetch the file")),
)
READ = "CSV, Parquet, arrays (.npy, .npz, IDX), JSON lines or pictures"
PATTERNS = tuple((re.compile(pattern, re.DOTALL | re.IGNORECASE), kind) for pattern, kind in SIGNATURES)


def kind_of(head: bytes) -> Kind:
    """Detect the kind of a file.

    Args:
        head: the first `HEAD` bytes, decompressed.
    """
    return next((kind for pattern, kind in PATTERNS if pattern.match(head)), CSV)


def refuse(kind: Kind, name: str, expected: str = READ) -> None:
    """Refuse an unsupported kind.

    Raises:
        InputError: always; says what was found and what to do.
    """
    raise InputError(name, ". ".join(filter(None, [f"found {kind.name}, expected {expected}", kind.advice])))
