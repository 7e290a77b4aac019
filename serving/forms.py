"""Parse file uploads: multipart/form-data (RFC 7578), including common deviations of clients.

Starlette's parser writes each file to a temporary file, accepts truncated forms, and ignores files without a name;
docs/dependencies.md has measurements.
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

MAX_FILES = 64  # per request
# RFC 7578 forbids filename* (RFC 8187), but .NET and others send it.
EXTENDED = re.compile(rb";\s*filename\*\s*=\s*\"?(?:(utf-8|iso-8859-1)'[^']*')?([^;\"]*)", re.IGNORECASE)
PLAIN: dict[bytes, Callable[[bytes], bytes]] = dict.fromkeys((b"", b"binary", b"7bit", b"8bit"), bytes)
DECODERS: dict[bytes, Callable[[bytes], bytes]] = {  # Content-Transfer-Encoding, which mail-based clients set
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
    """Incremental form parser. Files go to memory; with `file`, the form's only file is written there instead."""

    def __init__(self, content_type: str, file: IO[bytes] | None = None) -> None:
        """Raises InputError: the content type has no boundary."""
        self.boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not self.boundary:
            raise InputError("content-type", "found no multipart boundary")
        self.file, self.parts = file, list[_Part]()
        self.name = self.value = b""  # of the current header
        self.is_complete = False  # the final boundary was read
        self.parser: MultipartParser | None = None

    def write(self, data: bytes) -> None:
        """Parse more of the form. Raises InputError if it is malformed or has too many parts."""
        try:
            if self.parser is None:
                self.parser, data = self._begin(data)
            self.parser.write(data)
        except FormParserError as error:
            raise InputError("body", f"malformed multipart form: {error}; lines must end with CRLF") from error

    def finish(self) -> list[tuple[str, bytes]]:
        """Return the files.

        Returns:
            (name, content) of each file, in order, without the empty part that a browser sends if no file was chosen.

        Raises:
            InputError: the form is truncated, has a field that is not a file, or a file in an unsupported encoding.
        """
        if not self.is_complete:
            raise InputError("body", "the form ends before its final boundary")
        if self.file and not self.parts:
            raise InputError("body", "the form contains no file")
        files = (_to_file(part, PLAIN if self.file else DECODERS) for part in self.parts)
        return [(name, content) for name, content in files if name or content]

    def _begin(self, data: bytes) -> tuple[MultipartParser, bytes]:
        """Return a parser and the data from the first boundary on, without the preamble (RFC 2046, 5.1.1)."""
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
            raise InputError("body", "the form has more than one part, expected one file")
        if len(self.parts) == MAX_FILES:
            raise InputError("body", f"too many files, expected at most {MAX_FILES} per request")
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
        self.is_complete = True


def read_files(content: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Return the files of a complete form. Raises the same InputErrors as `UploadForm`."""
    form = UploadForm(content_type)
    form.write(content)
    return form.finish()


def _to_file(part: _Part, decoders: dict[bytes, Callable[[bytes], bytes]]) -> tuple[str, bytes]:
    """Return a file's name and content, both empty if no file was chosen."""
    disposition = part.headers.get(b"content-disposition", b"")
    options = parse_options_header(disposition)[1]
    if b"name" not in options:
        raise InputError("body", 'Content-Disposition of a part has no "name"')
    name, file = _decode(options[b"name"]), _file_name(disposition, options.get(b"filename"))
    field = name[:40] or "body"
    # By default, .NET sends a content type but no file name.
    if file is None and part.header(b"content-type", b"text/plain").startswith(b"text/plain"):
        raise InputError(field, "found a text field (no file name), expected files only")
    encoding = part.header(b"content-transfer-encoding")
    if encoding not in decoders:
        found = encoding[:40].decode("latin-1")
        raise InputError(field, f"found Content-Transfer-Encoding {found!r}, expected the raw bytes of the file")
    try:
        content = decoders[encoding](b"".join(part.content))
    except binascii.Error as error:
        raise InputError(field, f"not valid {encoding.decode()}: {error}") from error
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
