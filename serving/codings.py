"""Decompress bodies with Content-Encoding gzip or deflate, in pieces of bounded size."""

import zlib
from collections.abc import Iterator, Sequence

from components.errors import InputError, InputTooLarge
from serving.errors import Refusal

PIECE = 1 << 20  # bytes decompressed at a time, about 2 ms
MAX_MEMBERS = 10_000  # per gzip body; opening one takes 20 us, and bgzip writes one for each 64 KiB
CODINGS = {b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate"}
GZIP, ZLIB, RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS  # wbits of zlib.decompressobj


class Decoder:
    """Decompresses a body incrementally."""

    def __init__(self, coding: str) -> None:
        """`coding`: gzip or deflate."""
        self.coding = coding
        self.start = b""  # the first bytes, until there are enough to detect the format
        self.stream: zlib._Decompress | None = None
        self.members = 1

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompress more bytes and yield pieces of at most 1 MiB.

        Raises:
            InputError: the data is damaged.
            InputTooLarge: more than 10,000 gzip members.
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
                    raise InputError("body", "found bytes after the end of the deflate stream")
                self.members += 1
                if self.members > MAX_MEMBERS:
                    raise InputTooLarge("body", f"more than {MAX_MEMBERS:,} gzip members")
                self.stream = zlib.decompressobj(GZIP)
            try:
                piece = self.stream.decompress(data, PIECE)
            except zlib.error as error:
                declared = f"not valid {self.coding} data, which Content-Encoding declares"
                raise InputError("body", f"{declared}: {error}") from error
            data, full = self.stream.unconsumed_tail or self.stream.unused_data, len(piece) == PIECE
            if piece:
                yield piece

    def finish(self) -> None:
        """Check that the stream is complete. Raises InputError if the body ends too early."""
        if self.stream is None or not self.stream.eof:
            raise InputError("body", f"ends before the end of the {self.coding} stream")

    def _open(self, start: bytes) -> "zlib._Decompress":
        """Open a stream. Deflate means zlib format (RFC 9110, 8.4.1.2), but some clients send raw deflate."""
        if self.coding == "gzip":
            return zlib.decompressobj(GZIP)
        is_zlib = start[0] & 15 == zlib.DEFLATED and int.from_bytes(start[:2]) % 31 == 0
        return zlib.decompressobj(ZLIB if is_zlib else RAW)


def decoder_of(headers: Sequence[tuple[bytes, bytes]]) -> Decoder | None:
    """Return the decoder for a body with these headers, or None if it is not encoded.

    Raises:
        Refusal: 415, an unsupported coding or several codings; 400, a partial body.
    """
    codings: list[bytes] = []
    for name, value in headers:
        if name == b"content-encoding":
            codings += (coding.strip().lower() for coding in value.split(b","))
        elif name == b"content-range":
            raise Refusal(400, "content-range", "found a partial body, expected a complete one")
    codings = [coding for coding in codings if coding not in {b"", b"identity"}]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in CODINGS:
        found = ", ".join(coding.decode("latin-1") for coding in codings)[:60]
        reason = f"found {found}, expected gzip, deflate or none"
        raise Refusal(415, "content-encoding", reason, {"Accept-Encoding": "gzip, deflate"})
    return Decoder(CODINGS[codings[0]])
