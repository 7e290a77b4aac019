"""The files of a form: multipart/form-data (RFC 7578), as clients send it.

Starlette's own reader gives each file a temporary file, takes a form that is cut off for a whole one, and knows no file
without a name; docs/dependencies.md has what it would cost.
"""

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from components.errors import InputError

MAX_FILES = 64  # a request
# RFC 7578 forbids filename* (RFC 8187), and .NET and others send it all the same.
EXTENDED = re.compile(rb";\s*filename\*\s*=\s*\"?(?:(utf-8|iso-8859-1)'[^']*')?([^;\"]*)", re.IGNORECASE)
PLAIN: dict[bytes, Callable[[bytes], bytes]] = dict.fromkeys((b"", b"binary", b"7bit", b"8bit"), bytes)
DECODERS: dict[bytes, Callable[[bytes], bytes]] = {  # Content-Transfer-Encoding, as clients made for mail have it
    **PLAIN,
    b"base64": binascii.a2b_base64,
    b"quoted-printable": binascii.a2b_qp,
}


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    content: list[bytes] = field(default_factory=list)

    def header(self, name: bytes, default: bytes = b"") -> bytes:
        return self.headers.get(name, default).strip().lower()


class UploadForm:
    """A form, taken apart as it comes: into memory or, where it is to have one file alone, into another file."""

    def __init__(self, content_type: str, file: IO[bytes] | None = None) -> None:
        """Raises InputError: no boundary."""
        self.boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not self.boundary:
            raise InputError("content-type", "found no boundary of the form's parts")
        self.file, self.parts = file, list[_Part]()
        self.name = self.value = b""  # of a header, so far
        self.whole = False  # the last boundary was there
        self.parser: MultipartParser | None = None

    def write(self, data: bytes) -> None:
        """Take some more of the form. Raises InputError: it is damaged, or has too many parts."""
        try:
            if self.parser is None:
                self.parser, data = self._begin(data)
            self.parser.write(data)
        except FormParserError as error:
            raise InputError("body", f"not a form, or damaged: {error}; its lines end in CR LF") from error

    def finish(self) -> list[tuple[str, bytes]]:
        """Say what came.

        Returns:
            (name, content) of each file, in their order; what a browser sends where no file was chosen is none.

        Raises:
            InputError: the form is cut off, or has a field that is no file, or one in an encoding that is not known.
        """
        if not self.whole:
            raise InputError("body", "the form ends before its last boundary")
        if self.file and not self.parts:
            raise InputError("body", "no file in the form")
        taken = (_take(part, PLAIN if self.file else DECODERS) for part in self.parts)
        return [(name, content) for name, content in taken if name or content]

    def _begin(self, data: bytes) -> tuple[MultipartParser, bytes]:
        """A parser, and the form from its first boundary on; what is before is for mail readers (RFC 2046, 5.1.1)."""
        parser = MultipartParser(
            self.boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_to_name,
                "on_header_value": self._add_to_value,
                "on_header_end": self._end_header,
                "on_part_data": self._add_content,
                "on_end": self._end,
            },
        )
        start = 0 if data.startswith(b"--" + self.boundary) else data.find(b"\r\n--" + self.boundary) + 2
        return parser, data[start:] if start > 1 else data

    def _begin_part(self) -> None:
        if self.file and self.parts:
            raise InputError("body", "a second part in the form, expected one file")
        if len(self.parts) == MAX_FILES:
            raise InputError("body", f"Too many files; at most {MAX_FILES} a request")
        self.parts.append(_Part())

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def _end_header(self) -> None:
        self.parts[-1].headers[self.name.lower()] = self.value
        self.name = self.value = b""

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self.file:
            self.file.write(data[start:end])
        else:
            self.parts[-1].content.append(data[start:end])

    def _end(self) -> None:
        self.whole = True


def read_files(content: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """The files of a whole form. Raises InputError as `UploadForm`."""
    form = UploadForm(content_type)
    form.write(content)
    return form.finish()


def _take(part: _Part, decoders: dict[bytes, Callable[[bytes], bytes]]) -> tuple[str, bytes]:
    """A file's name and content; no name and no content: no file was chosen."""
    disposition = part.headers.get(b"content-disposition", b"")
    options = parse_options_header(disposition)[1]
    if b"name" not in options:
        raise InputError("body", 'the Content-Disposition of a part has no "name"')
    name, file = _decode(options[b"name"]), _file_name(disposition, options.get(b"filename"))
    field = name[:40] or "body"
    # .NET names no file unless told to, but the type of bytes.
    if file is None and part.header(b"content-type", b"text/plain").startswith(b"text/plain"):
        raise InputError(field, "a text field (it has no file name); expected files only")
    encoding = part.header(b"content-transfer-encoding")
    if encoding not in decoders:
        found = encoding[:40].decode("latin-1")
        raise InputError(field, f"Content-Transfer-Encoding {found!r}, expected the bytes of the file")
    try:
        content = decoders[encoding](b"".join(part.content))
    except binascii.Error as error:
        raise InputError(field, f"not {encoding.decode()}: {error}") from error
    return ((file or name)[:80] if file or content else ""), content


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
