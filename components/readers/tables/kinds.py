"""What a file is, by its first bytes: its name may say anything. One table of the kinds that people send."""

import re
from dataclasses import dataclass

from components.errors import InputError

HEAD = 1024  # bytes that tell; a tar has its mark at 257
EXPORT = "export it as CSV"
PICKLE = "it runs code when it is loaded, so it is never read here; save the arrays with np.save, or a table as Parquet"


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str  # as a sentence names it: "an Excel workbook"
    read_as: str = ""  # which reader takes it; empty: none does
    advice: str = ""  # what to do with one that is not read


CSV, PARQUET = Kind("CSV or other text", "csv"), Kind("Parquet", "parquet")
NPY, IDX, LINES = Kind("a NumPy array", "npy"), Kind("an IDX file", "idx"), Kind("JSON lines", "jsonl")
ZIP, TAR, PICTURE = Kind("a zip archive", "zip"), Kind("a tar archive", "tar"), Kind("a picture", "picture")
WORKBOOK = Kind("an Excel workbook", advice=EXPORT)
SIGNATURES: tuple[tuple[bytes, Kind], ...] = (  # a regular expression that the first bytes match
    (rb"PAR1", PARQUET),
    (rb"PARE", Kind("encrypted Parquet", advice="decrypt it first")),
    (rb"\x93NUMPY", NPY),
    (rb"\x00\x00[\x08\x09\x0b-\x0e][\x01-\x04]", IDX),
    (rb"PK(\x03\x04|\x05\x06)", ZIP),
    (rb".{257}ustar", TAR),
    (rb"\x1f\x8b|BZh|\xfd7zXZ\x00|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18", Kind("a packed file", advice="unpack it first")),
    (rb"ARROW1\x00\x00|FEA1", Kind("an Arrow (Feather) file", advice="save it as Parquet: df.to_parquet(...)")),
    (rb"\xff\xff\xff\xff....\x10\x00\x00\x00", Kind("an Arrow stream", advice="save it as Parquet")),
    (rb"\x80[\x02-\x05].*[.cq(]|\x80\x04\x95|\x80\x05\x95", Kind("a Python pickle", advice=PICKLE)),
    (rb"\x89HDF\r\n", Kind("an HDF5 file", advice="save its array with np.save, or its table as Parquet")),
    (rb"SQLite format 3\x00", Kind("an SQLite database", advice="export the table as CSV or Parquet")),
    (rb".{8}DUCK", Kind("a DuckDB database", advice="export the table: COPY t TO 'in.parquet'")),
    (rb"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", advice="unpack it first, or pack it as .zip or .tar.gz")),
    (rb"Rar!\x1a\x07", Kind("a RAR archive", advice="unpack it first, or pack it as .zip or .tar.gz")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", WORKBOOK),
    (rb"Obj\x01", Kind("an Avro file", advice="save it as Parquet or CSV")),
    (rb"ORC", Kind("an ORC file", advice="save it as Parquet or CSV")),
    (rb"MATLAB 5\.0 MAT-file", Kind("a MATLAB file", advice="save its array with np.save")),
    (rb"%PDF-", Kind("a PDF", advice="its pictures or tables are needed by themselves")),
    (rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|BM....\x00\x00\x00\x00", PICTURE),
    (rb"\s*<(!doctype html|html)", Kind("an HTML page", advice="a download gave a page, not the file")),
    (rb"\s*<\?xml", Kind("XML", advice="save it as CSV or Parquet")),
    (rb"\s*\{", LINES),
    (rb"\s*\[\s*[\[{]", Kind("a JSON array", advice="write an object a line (JSON lines)")),
    (rb"version https://git-lfs", Kind("a Git LFS pointer", advice="git lfs pull fetches the file itself")),
)
READ = "CSV, Parquet, arrays (.npy, .npz, IDX), JSON lines or pictures"
PATTERNS = tuple((re.compile(pattern, re.DOTALL | re.IGNORECASE), kind) for pattern, kind in SIGNATURES)


def kind_of(head: bytes) -> Kind:
    """What a file is.

    Args:
        head: its first `HEAD` bytes, unpacked.
    """
    return next((kind for pattern, kind in PATTERNS if pattern.match(head)), CSV)


def refuse(kind: Kind, name: str, expected: str = READ) -> None:
    """Refuse a kind that is not read.

    Raises:
        InputError: always; it names what was found, and what to do.
    """
    raise InputError(name, "; ".join(filter(None, [f"this is {kind.name}; expected {expected}", kind.advice])))
