"""The files of a form: multipart/form-data (RFC 7578), already whole in memory.

Starlette's own reader gives each file a temporary file and takes twice as long for one of a kilobyte.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from components.errors import InputError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_FILES = 64  # a request


@dataclass
class _Part:
    disposition: bytes = b""
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
        if self.header[0].lower() == b"content-disposition":
            self.parts[-1].disposition = self.header[1]

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].content.append(data[start:end])

    def on_end(self) -> None:
        self.whole = True


def read_files(content: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Take a form apart.

    Args:
        content: the whole body.
        content_type: the header, which names the boundary.

    Returns:
        (name, content) of each file, in their order.

    Raises:
        InputError: no boundary, not such a form, cut off, more than 64 files, or a field that is no file.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise InputError("content-type", "found no boundary of the form's parts")
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(content)
        parser.finalize()
    except FormParserError as error:
        raise InputError("body", str(error)) from error
    if not reader.whole:
        raise InputError("body", "the form ends before its last boundary")
    return [_take(part) for part in reader.parts]


def _take(part: _Part) -> tuple[str, bytes]:
    options = parse_options_header(part.disposition)[1]
    if b"name" not in options:
        raise InputError("body", 'the Content-Disposition of a part has no "name"')
    name, file = (options.get(key, b"").decode("utf-8", "replace") for key in (b"name", b"filename"))
    if b"filename" not in options:
        raise InputError(name[:40] or "body", "a text field (it has no file name); expected files only")
    return (file or name)[:80], b"".join(part.content)
