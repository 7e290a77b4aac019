"""What a picture file declares: read without decoding it, and refused beyond limits.

Decoders read metadata without a bound: texts that unpack to megabytes, millions of empty chunks, a second picture. They
are given the pixels and what describes them, and nothing else of the file.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from components.errors import InputError, InputTooLarge
from components.readers.images.foreign import name_foreign
from components.readers.images.header import (
    CUT_SHORT,
    LONGEST_SIDE,
    MAX_PARTS,
    MAX_PIXELS,
    MAX_RUN_LENGTH,
    MAX_RUN_LENGTH_PIXELS,
    MAX_WEBP_PIXELS,
    PictureHeader,
    Ranges,
    animated,
    too_many,
    without,
)
from components.readers.images.jpeg_header import read_jpeg
from components.readers.images.orientation import PROFILE, read_orientation, unpack_profile

# PNG, third edition, 11: what says how the pixels look. The rest is dropped.
PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

RUN_LENGTH = (1, 2)  # BMP's compressions RLE8 and RLE4


@dataclass(frozen=True)
class PictureFormat:
    """A format of pictures that are read."""

    name: str  # Pillow's
    start: re.Pattern[bytes]  # of a file's content
    read: Callable[[bytes, str], PictureHeader]
    suffixes: tuple[str, ...]  # of a file's name, in lower case

    @property
    def media_type(self) -> str:
        """As HTTP calls it."""
        return f"image/{self.name.lower()}"


def read_header(content: bytes, name: str) -> PictureHeader:
    """Look at a picture file.

    Args:
        content: the whole file.
        name: what to call it in an error.

    Raises:
        InputError: none of these, damaged, of a rare kind, or an animated PNG or WebP.
        InputTooLarge: beyond a limit above.
    """
    form = next((one for one in FORMATS if one.start.match(content)), None)
    if form is None:
        raise InputError(name, f"not a {', '.join(NAMES[:-1])} or {NAMES[-1]} picture{name_foreign(content)}")
    try:
        header = form.read(content, name)
    except (struct.error, IndexError, ValueError) as error:
        raise InputError(name, "a damaged picture: it ends within its header") from error
    size = f"{header.width} x {header.height} pixels"
    most, of_which = (MAX_WEBP_PIXELS, " of a WebP") if form.name == "WEBP" else (MAX_PIXELS, "")
    if header.pixels > most:
        raise InputTooLarge(name, f"{size}; at most {most:,} pixels{of_which} are read")
    if max(header.width, header.height) > LONGEST_SIDE:
        raise InputTooLarge(name, f"{size}; at most {LONGEST_SIDE:,} a side are read")
    if not header.pixels:
        raise InputError(name, f"a damaged picture: {size}")
    return header


def _read_png(content: bytes, name: str) -> PictureHeader:
    if content[12:16] != b"IHDR":
        raise InputError(name, "a damaged picture: its size does not come first")
    width, height, depth = struct.unpack_from(">IIB", content, 16)
    dropped, exif, xmp, place = Ranges(), b"", b"", 8
    for _ in range(MAX_PARTS):
        if place + 12 > len(content):
            break
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if kind not in PNG_KEPT or (kind == b"IHDR" and place > 8):
            dropped.append((place, end))
            if kind == b"acTL" and content[place + 8 : place + 12] > b"\0\0\0\1":
                raise animated(name)
            if kind == b"eXIf" or content.startswith(PROFILE, place + 8):
                exif = content[place + 8 : end - 4]
            elif kind == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0", place + 8):
                xmp = content[place + 8 : end - 4]
        elif kind == b"IEND":
            dropped.append((end, len(content)))
            break
        place = end
    else:
        raise too_many(name, "chunks")
    if exif.startswith(PROFILE):
        exif = unpack_profile(exif)
    return PictureHeader("PNG", width, height, without(content, dropped), read_orientation(exif, xmp), depth=depth)


def _read_webp(content: bytes, name: str) -> PictureHeader:
    if int.from_bytes(content[4:8], "little") + 7 > len(content):  # the last byte only fills up an odd length
        raise InputError(name, CUT_SHORT)
    if content[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
    elif content[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    frames, exif, xmp, place = 0, b"", b"", 12
    for _ in range(MAX_PARTS):
        if place + 8 > len(content):
            break
        kind, length = struct.unpack_from("<4sI", content, place)
        if kind == b"EXIF":
            exif = content[place + 8 : place + 8 + length]
        elif kind == b"XMP ":
            xmp = content[place + 8 : place + 8 + length]
        frames += kind == b"ANMF"
        if frames > 1:
            raise animated(name)
        place += 8 + length + length % 2
    else:
        raise too_many(name, "chunks")
    return PictureHeader("WEBP", width, height, content, read_orientation(exif, xmp))


def _read_gif(content: bytes, name: str) -> PictureHeader:
    """Its first picture, with the graphic control extension that belongs to it and no other extension."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    start = place = 13 + (3 << 1 + (flags & 7) if flags & 128 else 0)
    control, in_extension = b"", False
    for _ in range(MAX_PARTS):
        kind = content[place]
        if in_extension:
            place, in_extension = place + 1 + kind, kind > 0
        elif kind == 0x21:
            control = content[place : place + 8] if content[place + 1] == 0xF9 else control
            place, in_extension = place + 2, True
        elif kind == 0x2C:
            left, top, across, down = struct.unpack_from("<HHHH", content, place + 1)
            kept = b"".join((content[:start], control, memoryview(content)[place:]))
            return PictureHeader("GIF", max(width, left + across), max(height, top + down), kept)
        else:
            place += 1
    raise too_many(name, "blocks")


def _read_bmp(content: bytes, name: str) -> PictureHeader:
    if content[14:18] == struct.pack("<I", 12):  # OS/2
        width, height = struct.unpack_from("<HH", content, 18)
        return PictureHeader("BMP", width, height, content)
    width, height, _, _, compression = struct.unpack_from("<IiHHI", content, 18)
    header = PictureHeader("BMP", width, abs(height), content)
    if compression in RUN_LENGTH and (len(content) > MAX_RUN_LENGTH or header.pixels > MAX_RUN_LENGTH_PIXELS):
        most = f"{MAX_RUN_LENGTH >> 20} MiB or {MAX_RUN_LENGTH_PIXELS:,} pixels"
        raise InputTooLarge(name, f"a run-length coded BMP of more than {most}. Save it as PNG")
    return header


FORMATS = (  # adding one takes its header's reader, and a line here; Pillow decodes it
    PictureFormat("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), _read_png, (".png",)),
    PictureFormat("JPEG", re.compile(rb"\xff\xd8\xff"), read_jpeg, (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")),
    PictureFormat("WEBP", re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL), _read_webp, (".webp",)),
    PictureFormat("GIF", re.compile(rb"GIF8[79]a"), _read_gif, (".gif",)),
    PictureFormat("BMP", re.compile(rb"BM"), _read_bmp, (".bmp",)),
)
NAMES = tuple(one.name for one in FORMATS)
