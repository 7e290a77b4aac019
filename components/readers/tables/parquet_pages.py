"""What the pages of a Parquet file unpack to, by the header that each of them has.

Arrow makes room for a page as that header says, whatever the footer says of it: a file of 61 KB whose footer claims 80
bytes made it fill 2 GB. So all headers are read before Arrow reads a page. They are structs of the compact protocol
of Thrift (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

from collections.abc import Sequence
from typing import Any, BinaryIO

from components.errors import InputError, InputTooLarge

LARGEST_GROUP = 256 << 20  # bytes of the columns of one row group, unpacked: Arrow may hold them all at once
LARGEST_FILE = 1 << 30  # bytes of all row groups, unpacked
MAX_PAGES = 500_000  # 785 columns of a million rows, with a dictionary and 4,096 rows a row group, have 380,000
LONGEST_HEADER = 64 << 10  # bytes
DEEPEST = 8  # structs in structs
UNPACKED, PACKED = 2, 3  # the fields of a page's header with its sizes
DATA, VALUES = (5, 8), 1  # the structs of a page of data, of either version; in them, how many values it has
FREE = 64 << 20  # bytes that any file may decode to
MOST = 100  # beyond that: bytes for each packed one; Fashion-MNIST has 2 to 20, by type; a run of one value has no end
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}  # bytes of a value in memory; others: 8
BOOLEANS, BYTE, I16, I32, I64, DOUBLE, BINARY, STRUCT = (1, 2), 3, 4, 5, 6, 7, 8, 12  # Thrift's kinds of fields


def check_pages(stream: BinaryIO, metadata: Any, columns: Sequence[int], name: str, groups: range) -> None:
    """Refuse row groups whose pages unpack to too much.

    Args:
        stream: the file, seekable.
        metadata: its footer, `pyarrow.parquet.FileMetaData`.
        columns: the places of those that will be read.
        name: what to call it in an error.
        groups: the numbers of the row groups that will be read.

    Raises:
        InputTooLarge: more than 256 MiB in a row group, 1 GiB in all, 500,000 pages, or 100 times what is packed.
        InputError: a page's header cannot be read, or column chunks share bytes or lie outside the file.
    """
    unpacked = packed = pages = decoded = 0
    for number in groups:
        group, group_unpacked = metadata.row_group(number), 0
        for column in columns:
            chunk = group.column(column)
            if chunk.num_values <= 0:
                continue  # Arrow reads none of its pages either, and its offsets may be none
            start = min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset)
            packed += chunk.total_compressed_size
            if start < 0 or chunk.total_compressed_size < 0 or packed > stream.seek(0, 2):
                raise InputError(name, "damaged: column chunks share bytes or lie outside the file")
            end = start + chunk.total_compressed_size
            found, size, values = _measure(stream, start, end, MAX_PAGES - pages, name)
            pages, group_unpacked = pages + found, group_unpacked + size
            decoded += max(size, values * _width(metadata.schema.column(column)))
        unpacked += group_unpacked
        if group_unpacked > LARGEST_GROUP:
            raise InputTooLarge(
                name, f"a row group of more than {LARGEST_GROUP >> 20} MiB, unpacked; write smaller ones"
            )
        if unpacked > LARGEST_FILE:
            raise InputTooLarge(name, f"more than {LARGEST_FILE >> 20:,} MiB, unpacked")
        if decoded > FREE + MOST * packed:
            told = f"unpacks to more than {MOST} times its size; write it without so many equal rows"
            raise InputTooLarge(name, told)


def _width(column: Any) -> int:
    """Bytes of a value in memory."""
    return int(column.length) if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else WIDTHS.get(column.physical_type, 8)


def _measure(stream: BinaryIO, start: int, end: int, most: int, name: str) -> tuple[int, int, int]:
    """How many pages a column chunk has, their bytes, unpacked, and how many values they decode to."""
    pages = unpacked = values = 0
    while start < end:
        header = PageHeader(_read(stream, start, end))
        try:
            fields = header.read_struct()
            size, length = fields[UNPACKED], fields[PACKED]
        except (IndexError, KeyError, ValueError) as error:
            raise InputError(name, "damaged: the header of a page cannot be read") from error
        start += header.place + length
        values += header.values
        if start > end:
            raise InputError(name, "damaged: a page does not fit into its column chunk")
        pages, unpacked = pages + 1, unpacked + size
        if pages > most:
            raise InputTooLarge(name, f"more than {MAX_PAGES:,} pages")
    return pages, unpacked, values


def _read(stream: BinaryIO, start: int, end: int) -> bytes:
    stream.seek(start)
    return stream.read(min(end - start, LONGEST_HEADER))


class PageHeader:
    """Bytes that begin with a struct of Thrift's compact protocol; reading goes on from `place`."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place, self.values = content, 0, 0

    def read_struct(self, depth: int = 0) -> dict[int, int]:
        """The struct's 32-bit fields, id -> value, at least 0; of a field given twice, the larger one.

        Raises:
            IndexError: the bytes end before the struct does.
            ValueError: a kind of field that no page's header has, or structs in structs without end.
        """
        found: dict[int, int] = {}
        field = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            field = field + step if step else self._number()
            if kind == I32:
                found[field] = max(self._number(), found.get(field, 0))
            elif kind == STRUCT and depth < DEEPEST:
                inner = self.read_struct(depth + 1)
                self.values += inner.get(VALUES, 0) if depth == 0 and field in DATA else 0
            else:
                self._skip(kind)
        return found

    def _skip(self, kind: int) -> None:
        if kind in (I16, I64):
            self._varint()
        elif kind == BINARY:
            length = self._varint()
            self.place += length
        elif kind in (BYTE, DOUBLE):
            self.place += 1 if kind == BYTE else 8
        elif kind not in BOOLEANS:
            raise ValueError(f"a field of kind {kind}")

    def _byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) > 127:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _number(self) -> int:
        """Signed: 0, -1, 1, -2, ... are written as 0, 1, 2, 3, ..."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
