"""Read the markers of a JPEG file (ITU-T T.81, annex B) up to the end of its first picture."""

import re
import struct

from components.errors import InputError, InputTooLarge
from components.readers.images.header import (
    MAX_PARTS,
    MAX_SCANNED,
    PictureHeader,
    Ranges,
    remove_ranges,
    too_many_error,
)
from components.readers.images.orientation import read_orientation

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # in coded data, FF 00 is an escaped FF; D0 to D7 are restart markers
FILL = re.compile(rb"\xff{0,65536}")
WINDOW = 1 << 20  # bytes searched per call, which blocks other threads
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
PROGRESSIVE, END, SCAN, EXIF = 0xC2, 0xD9, 0xDA, 0xE1
BARE = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xDA)})  # markers without a segment
METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})  # without JFIF and Adobe segments, which define the colour space
RARE = {0xC3: "lossless", **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic coding")}
XMP = b"http://ns.adobe.com/xap/1.0/\0"


def read_jpeg(content: bytes, name: str) -> PictureHeader:
    """Read the header, and drop metadata, fill bytes and further pictures.

    Raises:
        InputError: a JPEG type that hardly any program writes.
        InputTooLarge: more than 10,000 segments, or too many scans for its size.
        struct.error, IndexError, ValueError: the file ends too early.
    """
    width = height = layers = frame = 0
    dropped, exif, xmp, offset = Ranges(), b"", b"", 2
    for _ in range(MAX_PARTS):
        after = _after_fill(content, content.index(b"\xff", offset))
        marker = content[after]
        if offset < after - 1:  # fill bytes or garbage, which a decoder skips slowly
            dropped.append((offset, after - 1))
        offset = after + 1
        if marker in BARE:
            continue
        end = offset + _segment(content, offset)
        if marker == SCAN:
            break
        if marker in METADATA:
            dropped.append((after - 1, end))
            if marker == EXIF and not exif and content.startswith(b"Exif\0\0", offset + 2):
                exif = content[offset + 2 : end]
            elif marker == EXIF and content.startswith(XMP, offset + 2):
                xmp = content[offset + 2 : end]
        elif marker in FRAMES:
            frame, (bits, height, width, layers) = marker, struct.unpack_from(">BHHB", content, offset + 2)
            if frame > PROGRESSIVE or bits != 8:
                what = RARE.get(frame, "hierarchical") if frame > PROGRESSIVE else f"{bits} bits per sample"
                raise InputError(name, f"an unsupported JPEG type ({what}). Save it as a baseline JPEG or as PNG")
        offset = end
    else:
        raise too_many_error(name, "segments")
    scans = 1
    if frame == PROGRESSIVE or content[offset + 2] < layers:  # otherwise the decoder stops after the first scan
        scans, last = _count_scans(content, end, name)
        dropped.append((last, len(content)))
    if scans * width * height > MAX_SCANNED:
        what = f"a JPEG of {width} x {height} pixels and {scans} scans"
        raise InputTooLarge(name, f"{what}. Save it remove_ranges progressive coding")
    return PictureHeader("JPEG", width, height, remove_ranges(content, dropped), read_orientation(exif, xmp), scans)


def _count_scans(content: bytes, offset: int, name: str) -> tuple[int, int]:
    """Count the scans and find the end of the picture; another picture may follow."""
    scans = 1
    for _ in range(MAX_PARTS):
        found = None
        while not found and offset < len(content):
            found = MARKER.search(content, offset, offset + WINDOW + 1)
            offset += WINDOW
        if not found:
            return scans, len(content)
        marker, offset = content[found.end() - 1], found.end()
        if marker == 0xFF:
            offset = _after_fill(content, found.start()) - 1  # the last FF may begin a marker
        elif marker == END:
            return scans, offset
        elif marker not in BARE:
            scans += marker == SCAN
            offset += _segment(content, offset)
    raise too_many_error(name, "segments")


def _after_fill(content: bytes, offset: int) -> int:
    match = FILL.match(content, offset)
    return match.end() if match else offset


def _segment(content: bytes, offset: int) -> int:
    return max(2, int(struct.unpack_from(">H", content, offset)[0]))
