"""Convert text from spreadsheets and other tools to UTF-8 with line feeds."""

import codecs
import io
from typing import BinaryIO, cast

from components.errors import InputError

CHUNK = 1 << 20  # bytes per read
SNIFFED = 64 << 10  # bytes from which the encoding is detected
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def as_utf8(stream: BinaryIO, name: str) -> BinaryIO:
    """Convert a text stream to UTF-8 with line feeds, detected by its first bytes; plain UTF-8 is not touched.

    Raises:
        InputError: from `read`, if later text does not match the detected encoding.
    """
    head = read_first(stream, SNIFFED)
    rest = cast(BinaryIO, ChainedReader(head, stream))
    encoding = find_encoding(head)
    if not encoding and not ends_with_cr(head):
        return rest
    return cast(BinaryIO, Utf8Reader(rest, encoding or "utf-8", name))


def find_encoding(head: bytes) -> str:
    """Detect `utf-16-le` or `utf-16-be` by the byte order mark or by zero bytes; "" for anything else."""
    if marked := next((encoding for mark, encoding in UTF_16.items() if head.startswith(mark)), ""):
        return marked
    parts = [head[offset:2000:2] for offset in (0, 1)]
    if len(head) >= 4 and all(byte < 128 for byte in head[:2000]):
        zeros = [part.count(0) > 0.9 * len(part) for part in parts]
        return {(False, True): "utf-16-le", (True, False): "utf-16-be"}.get((zeros[0], zeros[1]), "")
    return ""


def ends_with_cr(head: bytes) -> bool:
    """Whether the first line ends with a lone carriage return."""
    offset = head.find(b"\r")
    return 0 <= offset < len(head) - 1 and head[offset + 1] != ord("\n") and b"\n" not in head[:offset]


def read_first(stream: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, or fewer at the end, from a stream whose `read` may return less."""
    found = stream.read(size)
    while len(found) < size and (more := stream.read(size - len(found))):
        found += more
    return found


class Reader(io.RawIOBase):
    """Base of raw streams that only implement `read`."""

    def __del__(self) -> None:
        """Unlike the base class, do not close: others may use the underlying stream."""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """See `io.RawIOBase`."""
        content = self.read(len(buffer)) or b""
        buffer[: len(content)] = content
        return len(content)


class ChainedReader(Reader):
    """Bytes already read from a stream, followed by the rest of it."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self.first, self.stream = io.BytesIO(first), stream

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; b"" at the end."""
        return self.first.read(size) or self.stream.read(size)

    def close(self) -> None:
        """Also close the underlying stream."""
        self.stream.close()
        super().close()


class Utf8Reader(Reader):
    """Text in another encoding or with other line ends, converted to UTF-8 with line feeds."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str) -> None:
        self.stream, self.name, self.waiting = stream, name, b""
        plain = codecs.getincrementaldecoder(encoding)("strict" if encoding != "utf-8" else "surrogateescape")
        self.decoder = io.IncrementalNewlineDecoder(plain, translate=True)

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; b"" at the end."""
        chunk = b"?"
        while chunk and not self.waiting:
            chunk = self.stream.read(CHUNK)
            self.waiting = self._decode(chunk)
        part, self.waiting = self.waiting[:size], self.waiting[size:]
        return part

    def close(self) -> None:
        """Also close the underlying stream."""
        self.stream.close()
        super().close()

    def _decode(self, chunk: bytes) -> bytes:
        try:
            text: str = self.decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise InputError(
                self.name, f"damaged text: it begins as {error.encoding}, but is not valid {error.encoding}"
            ) from error
        return text.encode("utf-8", "surrogateescape")
