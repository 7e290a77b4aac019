"""The files of a form: multipart/form-data (RFC 7578), as clients send it.

Starlette's own reader gives each file a temporary file and takes twice as long for one of a kilobyte.
"""

import binascii
import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from components.errors import InputError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_FILES = 64  # a request
# RFC 7578 forbids filename* (RFC 8187), and .NET and others send it all the same.
EXTENDED = re.compile(rb";\s*filename\*\s*=\s*\"?(?:(utf-8|iso-8859-1)'[^']*')?([^;\"]*)", re.IGNORECASE)
DECODERS: dict[bytes, Callable[[bytes], bytes]] = {  # Content-Transfer-Encoding, as clients made for mail have it
    **dict.fromkeys((b"", b"binary", b"7bit", b"8bit"), bytes),
    b"base64": binascii.a2b_base64,
    b"quoted-printable": binascii.a2b_qp,
}


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    content: list[bytes] = field(default_factory=list)


class _Reader:
    """What the parser tells, put together."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.header = [b"", b""]  # name and value, so far
        self.whole = False  # the last boundary was there

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self.on_part_begin,
            "on_header_begin": self.on_header_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_part_data": self.on_part_data,
            "on_end": self.on_end,
        }

    def on_part_begin(self) -> None:
        if len(self.parts) == MOST_FILES:
            raise InputError("body", f"Too many files; at most {MOST_FILES} a request")
        self.parts.append(_Part())

    def on_header_begin(self) -> None:
        self.header = [b"", b""]

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header[0] += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.header[1] += data[start:end]

    def on_header_end(self) -> None:
        self.parts[-1].headers[self.header[0].lower()] = self.header[1]

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].content.append(data[start:end])

    def on_end(self) -> None:
        self.whole = True


class OneFile(_Reader):
    """Writes the only file of a form to another file, as the form comes."""

    def __init__(self, content_type: str, file: IO[bytes]) -> None:
        """Raises InputError: no boundary."""
        super().__init__()
        self.boundary, self.file = _boundary_of(content_type), file
        self.parser: MultipartParser | None = None

    def on_part_begin(self) -> None:
        """Raises InputError: it is the second."""
        if self.parts:
            raise InputError("body", "a second part in the form, expected one file")
        super().on_part_begin()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Write some of it."""
        self.file.write(data[start:end])

    def write(self, data: bytes) -> None:
        """Take some more of the form. Raises InputError: it is damaged, or has a second part."""
        with _refusing_damage():
            if self.parser is None:
                self.parser = MultipartParser(self.boundary, self.callbacks())
                data = _skip_preamble(data, self.boundary)
            self.parser.write(data)

    def finish(self) -> None:
        """Raises InputError: it is cut off, or its part is no file, or one in another encoding."""
        if not self.whole:
            raise InputError("body", "the form ends before its last boundary")
        if not self.parts:
            raise InputError("body", "no file in the form")
        name, _ = _take(self.parts[0])
        if DECODERS[_transfer_encoding(self.parts[0])] is not bytes:
            raise _other_encoding(self.parts[0], name)


def read_files(content: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Take a form apart.

    Args:
        content: the whole body.
        content_type: the header, which names the boundary.

    Returns:
        (name, content) of each file, in their order; what a browser sends where no file was chosen is none.

    Raises:
        InputError: no boundary, not such a form, cut off, more than 64 files, or a field that is no file.
    """
    boundary = _boundary_of(content_type)
    reader = _Reader()
    with _refusing_damage():
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(_skip_preamble(content, boundary))
        parser.finalize()
    if not reader.whole:
        raise InputError("body", "the form ends before its last boundary")
    return [(name, content) for name, content in map(_take, reader.parts) if name or content]


@contextlib.contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise InputError("body", f"not a form, or damaged: {error}; its lines end in CR LF") from error


def _boundary_of(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise InputError("content-type", "found no boundary of the form's parts")
    return boundary


def _skip_preamble(content: bytes, boundary: bytes) -> bytes:
    """From the first boundary on; what is before it is for readers of mail that know no forms (RFC 2046, 5.1.1)."""
    if content.startswith(b"--" + boundary):
        return content
    start = content.find(b"\r\n--" + boundary)
    return content if start < 0 else content[start + 2 :]


def _take(part: _Part) -> tuple[str, bytes]:
    """A file's name and content; no name and no content: no file was chosen."""
    disposition = part.headers.get(b"content-disposition", b"")
    options = parse_options_header(disposition)[1]
    if b"name" not in options:
        raise InputError("body", 'the Content-Disposition of a part has no "name"')
    name, file = _decode(options[b"name"]), _file_name(disposition, options.get(b"filename"))
    if file is None and _is_text(part):
        raise InputError(name[:40] or "body", "a text field (it has no file name); expected files only")
    content = _decode_content(part, name)
    return ((file or name)[:80] if file or content else ""), content


def _is_text(part: _Part) -> bool:
    """Whether a part without a file name is a text field; .NET names no file unless told to, but the type of bytes."""
    return part.headers.get(b"content-type", b"text/plain").strip().lower().startswith(b"text/plain")


def _file_name(disposition: bytes, plain: bytes | None) -> str | None:
    extended = EXTENDED.search(disposition) if b"*" in disposition else None
    if extended and extended[1]:
        return unquote_to_bytes(extended[2]).decode(extended[1].decode(), "replace")
    if plain is not None:
        return _decode(plain)
    return _decode(extended[2]) if extended else None


def _decode(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _decode_content(part: _Part, name: str) -> bytes:
    encoding = _transfer_encoding(part)
    if encoding not in DECODERS:
        raise _other_encoding(part, name)
    try:
        return DECODERS[encoding](b"".join(part.content))
    except binascii.Error as error:
        raise InputError(name[:40] or "body", f"not {encoding.decode()}: {error}") from error


def _transfer_encoding(part: _Part) -> bytes:
    return part.headers.get(b"content-transfer-encoding", b"").strip().lower()


def _other_encoding(part: _Part, name: str) -> InputError:
    found = _transfer_encoding(part)[:40].decode("latin-1")
    return InputError(name[:40] or "body", f"Content-Transfer-Encoding {found!r}, expected the bytes of the file")
