"""Bodies that were compressed on their way: gzip and deflate, unpacked a bounded piece at a time."""

import zlib
from collections.abc import Iterator, Sequence

from components.errors import InputError, InputTooLarge
from serving.errors import Refusal

PIECE = 1 << 20  # bytes of a body unpacked at a time: two milliseconds
MAX_MEMBERS = 10_000  # of a gzip file: opening one takes 20 microseconds; bgzip makes one of each 64 KiB
CODINGS = {b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate"}
GZIP, ZLIB, RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS  # what zlib calls them


class Decoder:
    """Unpacks a body, as it comes."""

    def __init__(self, coding: str) -> None:
        """`coding`: gzip or deflate."""
        self.coding = coding
        self.start = b""  # the first bytes, until there are enough to tell which kind it is
        self.stream: zlib._Decompress | None = None
        self.members = 1

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What is in some more bytes, in pieces of 1 MiB at most.

        Raises:
            InputError: they are damaged.
            InputTooLarge: more members than 10,000.
        """
        if self.stream is None:
            data = self.start = self.start + data
            if len(data) < 2:
                return
            self.stream = self._open(data)
        full = False
        while data or (full and not self.stream.eof):
            if self.stream.eof:
                if self.coding != "gzip":
                    raise InputError("body", "bytes after the end of what deflate packed")
                self.members += 1  # as a gzip file may have
                if self.members > MAX_MEMBERS:
                    raise InputTooLarge("body", f"more than {MAX_MEMBERS:,} members of gzip")
                self.stream = zlib.decompressobj(GZIP)
            try:
                piece = self.stream.decompress(data, PIECE)
            except zlib.error as error:
                raise InputError("body", f"not {self.coding}, as Content-Encoding says, or damaged: {error}") from error
            data, full = self.stream.unconsumed_tail or self.stream.unused_data, len(piece) == PIECE
            if piece:
                yield piece

    def finish(self) -> None:
        """Raises InputError: the body ends too early."""
        if self.stream is None or not self.stream.eof:
            raise InputError("body", f"ends before the end of what {self.coding} packed")

    def _open(self, start: bytes) -> "zlib._Decompress":
        """Deflate means the format of zlib (RFC 9110, 8.4.1.2); some send it without zlib's head and sum."""
        if self.coding == "gzip":
            return zlib.decompressobj(GZIP)
        is_zlib = start[0] & 15 == zlib.DEFLATED and int.from_bytes(start[:2]) % 31 == 0
        return zlib.decompressobj(ZLIB if is_zlib else RAW)


def decoder_of(headers: Sequence[tuple[bytes, bytes]]) -> Decoder | None:
    """What unpacks a body with these headers; None: it comes as it is.

    Raises:
        Refusal: 415, another coding, or several; 400, it is a part of a body.
    """
    codings: list[bytes] = []
    for name, value in headers:
        if name == b"content-encoding":
            codings += (coding.strip().lower() for coding in value.split(b","))
        elif name == b"content-range":
            raise Refusal(400, "content-range", "found a part of a body, expected the whole")
    codings = [coding for coding in codings if coding not in {b"", b"identity"}]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in CODINGS:
        found = ", ".join(coding.decode("latin-1") for coding in codings)[:60]
        reason = f"found {found}, expected gzip, deflate or none"
        raise Refusal(415, "content-encoding", reason, {"Accept-Encoding": "gzip, deflate"})
    return Decoder(CODINGS[codings[0]])
