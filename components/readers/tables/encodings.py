"""Text as spreadsheets and other tools write it, as UTF-8 with line feeds."""

import codecs
import io
from typing import BinaryIO, cast

from components.errors import InputError

CHUNK = 1 << 20  # bytes that are recoded at a time
SNIFFED = 64 << 10  # bytes that tell what the others are
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def as_utf8(stream: BinaryIO, name: str) -> BinaryIO:
    """The same text as UTF-8 with line feeds, decided by its first bytes; what is so already is handed on untouched.

    Raises:
        InputError: from its `read`, text that is not what its first bytes say.
    """
    head = read_first(stream, SNIFFED)
    rest = cast(BinaryIO, Joined(head, stream))
    encoding = find_encoding(head)
    if not encoding and not ends_with_cr(head):
        return rest
    return cast(BinaryIO, Recoded(rest, encoding or "utf-8", name))


def find_encoding(head: bytes) -> str:
    """`utf-16-le` or `utf-16-be`, by the mark at the beginning or by its zeros; empty for anything else."""
    if marked := next((encoding for mark, encoding in UTF_16.items() if head.startswith(mark)), ""):
        return marked
    places = [head[place:2000:2] for place in (0, 1)]
    if len(head) >= 4 and all(byte < 128 for byte in head[:2000]):
        zeros = [part.count(0) > 0.9 * len(part) for part in places]
        return {(False, True): "utf-16-le", (True, False): "utf-16-be"}.get((zeros[0], zeros[1]), "")
    return ""


def ends_with_cr(head: bytes) -> bool:
    """Whether the first line ends with a carriage return alone."""
    place = head.find(b"\r")
    return 0 <= place < len(head) - 1 and head[place + 1] != ord("\n") and b"\n" not in head[:place]


def read_first(stream: BinaryIO, size: int) -> bytes:
    """As many of the next bytes as there are, at most `size`; a stream may hand out fewer at a time."""
    found = stream.read(size)
    while len(found) < size and (more := stream.read(size - len(found))):
        found += more
    return found


class Reader(io.RawIOBase):
    """A stream that has `read` alone, for what wants more of it."""

    def __del__(self) -> None:
        """Unlike its base, it closes nothing when it is no longer used: the stream below may be somebody else's."""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """See `io.RawIOBase`."""
        content = self.read(len(buffer)) or b""
        buffer[: len(content)] = content
        return len(content)


class Joined(Reader):
    """Bytes that were read, and then what is left of their stream."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self.first, self.stream = io.BytesIO(first), stream

    def read(self, size: int = -1) -> bytes:
        """At most so many; nothing at the end."""
        return self.first.read(size) or self.stream.read(size)

    def close(self) -> None:
        """Close the stream, too."""
        self.stream.close()
        super().close()


class Recoded(Reader):
    """Text of another encoding or with other line ends, as UTF-8 with line feeds."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str) -> None:
        self.stream, self.name, self.waiting = stream, name, b""
        plain = codecs.getincrementaldecoder(encoding)("strict" if encoding != "utf-8" else "surrogateescape")
        self.decoder = io.IncrementalNewlineDecoder(plain, translate=True)

    def read(self, size: int = -1) -> bytes:
        """At most so many; nothing at the end."""
        chunk = b"?"
        while chunk and not self.waiting:
            chunk = self.stream.read(CHUNK)
            self.waiting = self._decode(chunk)
        part, self.waiting = self.waiting[:size], self.waiting[size:]
        return part

    def close(self) -> None:
        """Close the stream, too."""
        self.stream.close()
        super().close()

    def _decode(self, chunk: bytes) -> bytes:
        try:
            text: str = self.decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise InputError(
                self.name, f"damaged: not {error.encoding} text throughout, as its beginning is"
            ) from error
        return text.encode("utf-8", "surrogateescape")
