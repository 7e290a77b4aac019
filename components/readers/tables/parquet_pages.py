"""Bound the decompressed size of a Parquet file from its page headers.

Arrow allocates as much memory as a page header claims, whatever the footer says: a 61 KB file whose footer claimed 80
bytes made it allocate 2 GB. So all headers are checked before Arrow reads a page. They are structs of Thrift's compact
protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

from collections.abc import Sequence
from typing import Any, BinaryIO

from components.errors import InputError, InputTooLarge

LARGEST_GROUP = 256 << 20  # bytes of one row group, decompressed: Arrow may hold all its columns at once
LARGEST_FILE = 1 << 30  # bytes of all row groups, decompressed
MAX_PAGES = 500_000  # 785 columns of a million rows, with a dictionary and 4,096 rows a row group, have 380,000
LONGEST_HEADER = 64 << 10  # bytes
DEEPEST = 8  # nested structs
UNCOMPRESSED, COMPRESSED = 2, 3  # field ids of the sizes in a page header
DATA, VALUES = (5, 8), 1  # field ids of the data page headers, v1 and v2; of the number of values in them
ALWAYS_ALLOWED = 64 << 20  # bytes that any file may decode to
MAX_RATIO = 100  # decoded to compressed size beyond that; Fashion-MNIST: 2 to 20; runs of one value are unbounded
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}  # bytes per value in memory; others: 8
BOOLEANS, BYTE, I16, I32, I64, DOUBLE, BINARY, STRUCT = (1, 2), 3, 4, 5, 6, 7, 8, 12  # Thrift field types


def check_pages(stream: BinaryIO, metadata: Any, columns: Sequence[int], name: str, groups: range) -> None:
    """Refuse row groups that decompress to too much.

    Args:
        stream: the file, seekable.
        metadata: its footer, `pyarrow.parquet.FileMetaData`.
        columns: indices of the columns to read.
        name: file name for errors.
        groups: row groups to read.

    Raises:
        InputTooLarge: over 256 MiB in a row group, 1 GiB in total, 500,000 pages, or 100 times the compressed size.
        InputError: an invalid page header, or column chunks that overlap or exceed the file.
    """
    uncompressed = compressed = pages = decoded = 0
    for number in groups:
        group, group_size = metadata.row_group(number), 0
        for column in columns:
            chunk = group.column(column)
            if chunk.num_values <= 0:
                continue  # Arrow reads none of its pages either, and its offsets may be invalid
            start = min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset)
            compressed += chunk.total_compressed_size
            if start < 0 or chunk.total_compressed_size < 0 or compressed > stream.seek(0, 2):
                raise InputError(name, "damaged file: column chunks overlap or exceed the file")
            end = start + chunk.total_compressed_size
            found, size, values = _measure(stream, start, end, MAX_PAGES - pages, name)
            pages, group_size = pages + found, group_size + size
            decoded += max(size, values * _width(metadata.schema.column(column)))
        uncompressed += group_size
        if group_size > LARGEST_GROUP:
            raise InputTooLarge(
                name, f"a row group is larger than {LARGEST_GROUP >> 20} MiB, decompressed. Write smaller ones"
            )
        if uncompressed > LARGEST_FILE:
            raise InputTooLarge(name, f"the file is larger than {LARGEST_FILE >> 20:,} MiB, decompressed. Split it")
        if decoded > ALWAYS_ALLOWED + MAX_RATIO * compressed:
            message = f"the file decompresses to more than {MAX_RATIO} times its size. Remove repeated rows"
            raise InputTooLarge(name, message)


def _width(column: Any) -> int:
    """Bytes per value in memory."""
    return int(column.length) if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else WIDTHS.get(column.physical_type, 8)


def _measure(stream: BinaryIO, start: int, end: int, most: int, name: str) -> tuple[int, int, int]:
    """The number of pages in a column chunk, their decompressed bytes and their number of values."""
    pages = uncompressed = values = 0
    while start < end:
        header = PageHeader(_read(stream, start, end))
        try:
            fields = header.read_struct()
            size, length = fields[UNCOMPRESSED], fields[COMPRESSED]
        except (IndexError, KeyError, ValueError) as error:
            raise InputError(name, "damaged file: invalid page header") from error
        start += header.offset + length
        values += header.values
        if start > end:
            raise InputError(name, "damaged file: a page exceeds its column chunk")
        pages, uncompressed = pages + 1, uncompressed + size
        if pages > most:
            raise InputTooLarge(name, f"the file has more than {MAX_PAGES:,} pages. Write larger ones")
    return pages, uncompressed, values


def _read(stream: BinaryIO, start: int, end: int) -> bytes:
    stream.seek(start)
    return stream.read(min(end - start, LONGEST_HEADER))


class PageHeader:
    """Parser for a struct of Thrift's compact protocol; continues at `offset`."""

    def __init__(self, content: bytes) -> None:
        self.content, self.offset, self.values = content, 0, 0

    def read_struct(self, depth: int = 0) -> dict[int, int]:
        """Read the 32-bit fields of a struct, id -> value, at least 0; the larger value of a repeated field.

        Raises:
            IndexError: the bytes end before the struct does.
            ValueError: a field type that no page header has, or too many nested structs.
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
            self.offset += length
        elif kind in (BYTE, DOUBLE):
            self.offset += 1 if kind == BYTE else 8
        elif kind not in BOOLEANS:
            raise ValueError(f"unexpected field type {kind}")

    def _byte(self) -> int:
        self.offset += 1
        return self.content[self.offset - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) > 127:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _number(self) -> int:
        """Read a zigzag-encoded signed number."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
