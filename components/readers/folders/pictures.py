"""Picture files in a folder or listed in a CSV, split into parts by size."""

import csv
import hashlib
import io
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pyarrow as pa

from components.contract import DataContract
from components.errors import InputError
from components.readers.blocks import Block
from components.readers.folders.below import Root
from components.readers.folders.csv_lines import is_plain_utf8, open_text
from components.readers.folders.names import LeftOut, folder_of, has_class_folders, to_text
from components.readers.folders.parts import FILE_OVERHEAD, Input, InputPart, TableReading, gather
from components.readers.folders.unpacking import as_input_error
from components.readers.images.blocks import Picture, to_blocks
from components.readers.tables.columns import FILES, read_columns
from components.readers.tables.encodings import read_first
from components.readers.tables.layout import LONGEST_LINE, find_header, texts_of


class Digests:
    """SHA-256 over the hashes of files, in input order, although parts are read in any order."""

    def __init__(self) -> None:
        self.found: dict[int, bytes] = {}  # start of a part -> 32 bytes per file

    def note(self, part: InputPart, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield the pictures of a part and record their hashes."""
        hashes = []
        for picture in pictures:
            hashes.append(hashlib.sha256(b"" if isinstance(picture.content, InputError) else picture.content).digest())
            yield picture
        self.found[part.start] = b"".join(hashes)

    def join(self, first: Sequence[str] = ()) -> str:
        """Combine the hashes in `first` and those of all parts, one per line, once all parts are read."""
        content = hashlib.sha256("\n".join(first).encode())
        mark = b"\n" if first else b""
        for _, hashes in sorted(self.found.items()):
            for start in range(0, len(hashes), 32):
                content.update(mark + hashes[start : start + 32].hex().encode())
                mark = b"\n"
        return content.hexdigest()


class PictureInput(Input):
    """Picture files, labelled by their parent folders if any folder is named after a class."""

    def __init__(self, path: Path, reading: TableReading, contract: DataContract) -> None:
        if reading.kept:
            raise InputError(f"column {reading.kept[0]!r}", "cannot keep a column: picture files have no columns")
        super().__init__(path, reading, contract)
        self.extra, self.labelled, self.count = pa.schema([]), False, 0

    def share(self, part: InputPart) -> float | None:
        """See `Input`."""
        return part.stop / self.count

    def cut(self, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield the file range of each part, end exclusive; `sizes` in bytes."""
        part = self.reading.part_of(sum(sizes) + FILE_OVERHEAD * len(sizes))
        for indices in gather(zip(range(len(sizes)), sizes, strict=True), part):
            yield indices[0], indices[-1] + 1

    def to_blocks(self, pictures: Iterable[Picture]) -> Iterator[Block]:
        """Decode pictures."""
        return to_blocks(pictures, self.contract, self.labelled)

    def row(self, line: int, name: str, row_id: str, content: bytes | InputError) -> Picture:
        """Build a picture that is not decoded yet."""
        return Picture(line, row_id, os.fsencode(name), content, folder_of(row_id) if self.labelled else None)


class PictureFiles(PictureInput):
    """Picture files below a root."""

    def __init__(
        self, path: Path, names: list[str], left_out: LeftOut, reading: TableReading, contract: DataContract
    ) -> None:
        super().__init__(path, reading, contract)
        self.names, self.left_out, self.count = names, left_out, len(names)
        self.root, self.digests = Root(path), Digests()
        self.labelled = has_class_folders(names, contract)
        self.sizes, self.states, content = list[int](), array("q"), hashlib.sha256()
        for name in names:
            size, state = _measure(self.root, name)
            self.sizes.append(size)
            self.states.append(state)
            content.update(os.fsencode(f"{name}\t{size}\t{state}\n"))
        self.listing_digest = content.hexdigest()

    def parts(self) -> Iterator[InputPart]:
        """See `Input`."""
        for number, (start, stop) in enumerate(self.cut(self.sizes)):
            yield InputPart(number, self.root.path, start + 1, start, stop)

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        return self.to_blocks(self._pictures(part))

    def files(self) -> Iterator[Path]:
        """See `Input`."""
        return (Path(self.root.path, name) for name in self.names)

    def fingerprint(self) -> str:
        """See `Input`."""
        return self.listing_digest

    def digest(self) -> str:
        """See `Input` and `Digests`. Reads the parts that an earlier run scored."""
        for part in self.parts():
            if part.start not in self.digests.found:
                sum(1 for _ in self._pictures(part))
        return self.digests.join()

    def _pictures(self, part: InputPart) -> Iterator[Picture]:
        return self.digests.note(part, map(self._read, range(part.start, part.stop)))

    def _read(self, index: int) -> Picture:
        name = self.names[index]
        try:
            content: bytes | InputError = self.root.read(name, self.states[index] or None)
        except InputError as error:
            content = error
        return self.row(index + 1, name, to_text(name), content)


class PathListInput(Input):
    """A CSV whose rows name picture files below a root.

    `files` yields only the CSV, so that no output is taken for one of the pictures.
    """

    def __init__(self, path: Path, reading: TableReading, contract: DataContract) -> None:
        super().__init__(path, reading, contract)
        self.extra = texts_of(reading.kept)
        self.root, self.digests = Root(Path(reading.root) if reading.root else path.parent), Digests()
        self.hash, self.rows, self.number_of_parts, self.seen = hashlib.sha256(), 0, 0, ""
        self.recoded = not is_plain_utf8(path)
        with closing(open_text(path)) as stream, as_input_error(path.name):
            head = read_first(stream, LONGEST_LINE + 1)
        header = find_header(head, path.name, contract.image, reading.delimiter)
        self.header, self.delimiter, self.before = head[: header.size], header.delimiter, header.lines
        columns = read_columns(header.cells, contract.image, reading.kept, reading.dropped)
        self.columns, self.notes = columns.names, columns.notes
        for column in (*FILES, "id", "label", *reading.kept):
            if self.columns.count(column) > 1 or (column in reading.kept and column not in self.columns):
                found = "repeated" if column in self.columns else "missing"
                raise InputError(path.name, f"header: {found} column {column!r}, expected it once")
        if not Path(self.root.path).is_dir():
            raise InputError(reading.root, "no such folder")
        self.at = self.columns.index(next(column for column in FILES if column in self.columns))

    def parts(self) -> Iterator[InputPart]:
        """See `Input`. Parts carry the CSV lines; pictures are read with the part."""
        first, offset, self.number_of_parts = 1, len(self.header), 0
        for number, kept in enumerate(gather(self._measured(), self.reading.part)):
            lines = b"".join(kept)
            yield InputPart(number, str(self.path), first, offset, offset + len(lines), lines)
            first, offset, self.number_of_parts = first + len(kept), offset + len(lines), number + 1
        self.rows = first - 1

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        return to_blocks(self._pictures(part), self.contract, "label" in self.columns, self.reading.kept)

    def share(self, part: InputPart) -> float | None:
        """See `Input`."""
        return None if self.recoded else part.stop / self.path.stat().st_size

    def fingerprint(self) -> str:
        """See `Input`: includes the pictures, as they were when `parts` was exhausted, or as they are now."""
        if not self.seen:
            sum(1 for _ in self._measured())
        return self.seen

    def digest(self) -> str:
        """See `Input` and `Digests`: of the decompressed CSV, then of its pictures."""
        if len(self.digests.found) < self.number_of_parts:
            for part in self.parts():
                if part.start not in self.digests.found:
                    sum(1 for _ in self._pictures(part))
        return self.digests.join([self.hash.hexdigest()])

    def _lines(self) -> Iterator[bytes]:
        self.hash = hashlib.sha256()
        with closing(open_text(self.path)) as stream, as_input_error(self.path.name):
            self.hash.update(read_first(stream, len(self.header)))
            lines = io.BufferedReader(cast(io.RawIOBase, stream))
            while line := lines.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    message = f"a line is longer than {LONGEST_LINE:,} bytes. Is this a CSV file?"
                    raise InputError(self.path.name, message)
                self.hash.update(line)
                yield line

    def _measured(self) -> Iterator[tuple[bytes, int]]:
        """Yield each line and the size of its picture in bytes; sets the fingerprint at the end."""
        content = hashlib.sha256()
        for line in self._lines():
            size, state = self._measure(line)
            content.update(f"{size}\t{state}\n".encode())
            yield line, size
        content.update(super().fingerprint().encode())
        self.seen = content.hexdigest()

    def _measure(self, line: bytes) -> tuple[int, int]:
        try:
            return _measure(self.root, check_path(self._split(line)[self.at]))
        except InputError:
            return 0, 0

    def _pictures(self, part: InputPart) -> Iterator[Picture]:
        rows = (part.lines or b"").removesuffix(b"\n").split(b"\n")
        return self.digests.note(part, (self._read(part.first + index, row) for index, row in enumerate(rows)))

    def _read(self, number: int, row: bytes) -> Picture:
        row, row_id, label, line = row.removesuffix(b"\r"), str(number), "", number + self.before
        try:
            cells = self._split(row)
            row_id = cells[self.columns.index("id")] if "id" in self.columns else row_id
            if "label" in self.columns:
                label = cells[self.columns.index("label")]
            extra = tuple(cells[self.columns.index(column)] for column in self.reading.kept)
            content = self.root.read(check_path(cells[self.at]))
        except InputError as error:
            return Picture(line, row_id, row, error)
        return Picture(line, row_id, row, content, label, extra)

    def _split(self, line: bytes) -> list[str]:
        try:
            cells = next(csv.reader([line.decode().rstrip("\r\n")], delimiter=self.delimiter, strict=True), [])
        except UnicodeDecodeError as error:
            raise InputError("row", "not UTF-8 text") from error
        except csv.Error as error:
            raise InputError("row", f"cannot parse the line as one CSV row: {error}") from error
        if len(cells) != len(self.columns):
            message = f"found {len(cells)} cells, expected {len(self.columns)}" if cells else "empty line"
            raise InputError("row", message)
        return cells


def check_path(cell: str) -> str:
    """Validate the path in a row.

    Raises:
        InputError: it is empty, a URL, absolute or outside the root.
    """
    if "://" in cell:
        raise InputError("path", "found a URL, expected a file path. URLs are not fetched")
    if not cell or "\0" in cell:
        raise InputError("path", "empty or invalid path")
    if cell.startswith("/") or ".." in cell.split("/"):
        raise InputError("path", "outside the root. Use a path relative to the root, without ..")
    return cell


def _measure(root: Root, name: str) -> tuple[int, int]:
    """The size in bytes and the state of a file; zeros if it cannot be read."""
    try:
        _, size, state = root.find(name)
    except InputError:
        return 0, 0
    return size, state
