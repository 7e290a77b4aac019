"""Read picture headers without decoding, enforce limits and strip metadata.

Decoders read metadata without bounds: text that decompresses to megabytes, millions of empty chunks, a second picture.
So they only get the pixel data and what describes it.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from components.errors import InputError, InputTooLarge
from components.readers.images.foreign import describe_foreign
from components.readers.images.header import (
    LONGEST_SIDE,
    MAX_PARTS,
    MAX_PIXELS,
    MAX_RUN_LENGTH,
    MAX_RUN_LENGTH_PIXELS,
    MAX_WEBP_PIXELS,
    TRUNCATED,
    PictureHeader,
    Ranges,
    animated_error,
    remove_ranges,
    too_many_error,
)
from components.readers.images.jpeg_header import read_jpeg
from components.readers.images.orientation import PROFILE, read_orientation, unpack_profile

# PNG, third edition, section 11: chunks that affect the pixels. All others are dropped.
PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

RUN_LENGTH = (1, 2)  # BMP compression types RLE8 and RLE4


@dataclass(frozen=True)
class PictureFormat:
    """A supported picture format."""

    name: str  # Pillow's name
    start: re.Pattern[bytes]  # first bytes of a file
    read: Callable[[bytes, str], PictureHeader]
    suffixes: tuple[str, ...]  # lower case

    @property
    def media_type(self) -> str:
        """The HTTP media type."""
        return f"image/{self.name.lower()}"


def read_header(content: bytes, name: str) -> PictureHeader:
    """Read the header of a picture file.

    Args:
        content: the complete file.
        name: name for errors.

    Raises:
        InputError: an unsupported format, a damaged file, a rare JPEG type, or an animated PNG or WebP.
        InputTooLarge: a limit is exceeded.
    """
    form = next((entry for entry in FORMATS if entry.start.match(content)), None)
    if form is None:
        raise InputError(name, f"not a {', '.join(NAMES[:-1])} or {NAMES[-1]} picture{describe_foreign(content)}")
    try:
        header = form.read(content, name)
    except (struct.error, IndexError, ValueError) as error:
        raise InputError(name, "a damaged picture: the file ends within its header") from error
    size = f"{header.width} x {header.height} pixels"
    most, of_which = (MAX_WEBP_PIXELS, " for WebP") if form.name == "WEBP" else (MAX_PIXELS, "")
    if header.pixels > most:
        raise InputTooLarge(name, f"found {size}, expected at most {most:,}{of_which}")
    if max(header.width, header.height) > LONGEST_SIDE:
        raise InputTooLarge(name, f"found {size}, expected at most {LONGEST_SIDE:,} per side")
    if not header.pixels:
        raise InputError(name, f"a damaged picture: {size}")
    return header


def _read_png(content: bytes, name: str) -> PictureHeader:
    if content[12:16] != b"IHDR":
        raise InputError(name, "a damaged picture: the size is not in the first chunk")
    width, height, depth = struct.unpack_from(">IIB", content, 16)
    dropped, exif, xmp, offset = Ranges(), b"", b"", 8
    for _ in range(MAX_PARTS):
        if offset + 12 > len(content):
            break
        length, kind = struct.unpack_from(">I4s", content, offset)
        end = offset + 12 + length
        if kind not in PNG_KEPT or (kind == b"IHDR" and offset > 8):
            dropped.append((offset, end))
            if kind == b"acTL" and content[offset + 8 : offset + 12] > b"\0\0\0\1":
                raise animated_error(name)
            if kind == b"eXIf" or content.startswith(PROFILE, offset + 8):
                exif = content[offset + 8 : end - 4]
            elif kind == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0", offset + 8):
                xmp = content[offset + 8 : end - 4]
        elif kind == b"IEND":
            dropped.append((end, len(content)))
            break
        offset = end
    else:
        raise too_many_error(name, "chunks")
    if exif.startswith(PROFILE):
        exif = unpack_profile(exif)
    pixels = remove_ranges(content, dropped)
    return PictureHeader("PNG", width, height, pixels, read_orientation(exif, xmp), depth=depth)


def _read_webp(content: bytes, name: str) -> PictureHeader:
    if int.from_bytes(content[4:8], "little") + 7 > len(content):  # the last byte may be only padding
        raise InputError(name, TRUNCATED)
    if content[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
    elif content[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    frames, exif, xmp, offset = 0, b"", b"", 12
    for _ in range(MAX_PARTS):
        if offset + 8 > len(content):
            break
        kind, length = struct.unpack_from("<4sI", content, offset)
        if kind == b"EXIF":
            exif = content[offset + 8 : offset + 8 + length]
        elif kind == b"XMP ":
            xmp = content[offset + 8 : offset + 8 + length]
        frames += kind == b"ANMF"
        if frames > 1:
            raise animated_error(name)
        offset += 8 + length + length % 2
    else:
        raise too_many_error(name, "chunks")
    return PictureHeader("WEBP", width, height, content, read_orientation(exif, xmp))


def _read_gif(content: bytes, name: str) -> PictureHeader:
    """Keep the first picture and its graphic control extension; drop all other extensions."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    start = offset = 13 + (3 << 1 + (flags & 7) if flags & 128 else 0)
    control, in_extension = b"", False
    for _ in range(MAX_PARTS):
        kind = content[offset]
        if in_extension:
            offset, in_extension = offset + 1 + kind, kind > 0
        elif kind == 0x21:
            control = content[offset : offset + 8] if content[offset + 1] == 0xF9 else control
            offset, in_extension = offset + 2, True
        elif kind == 0x2C:
            left, top, across, down = struct.unpack_from("<HHHH", content, offset + 1)
            kept = b"".join((content[:start], control, memoryview(content)[offset:]))
            return PictureHeader("GIF", max(width, left + across), max(height, top + down), kept)
        else:
            offset += 1
    raise too_many_error(name, "blocks")


def _read_bmp(content: bytes, name: str) -> PictureHeader:
    if content[14:18] == struct.pack("<I", 12):  # OS/2
        width, height = struct.unpack_from("<HH", content, 18)
        return PictureHeader("BMP", width, height, content)
    width, height, _, _, compression = struct.unpack_from("<IiHHI", content, 18)
    header = PictureHeader("BMP", width, abs(height), content)
    if compression in RUN_LENGTH and (len(content) > MAX_RUN_LENGTH or header.pixels > MAX_RUN_LENGTH_PIXELS):
        most = f"{MAX_RUN_LENGTH >> 20} MiB or {MAX_RUN_LENGTH_PIXELS:,} pixels"
        raise InputTooLarge(name, f"a run-length encoded BMP of more than {most}. Save it as PNG")
    return header


FORMATS = (  # to add a format, write its header reader and add a line here; Pillow decodes it
    PictureFormat("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), _read_png, (".png",)),
    PictureFormat("JPEG", re.compile(rb"\xff\xd8\xff"), read_jpeg, (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")),
    PictureFormat("WEBP", re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL), _read_webp, (".webp",)),
    PictureFormat("GIF", re.compile(rb"GIF8[79]a"), _read_gif, (".gif",)),
    PictureFormat("BMP", re.compile(rb"BM"), _read_bmp, (".bmp",)),
)
NAMES = tuple(entry.name for entry in FORMATS)
