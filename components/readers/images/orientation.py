"""Read the orientation of a picture from its metadata.

No general EXIF parser: the entries of a 64 KB block may refer to hundreds of megabytes.
"""

import contextlib
import re
import struct
import zlib

TAG = 0x0112  # Exif 2.32, "Orientation": 1 (upright) to 8
KINDS = {1: "B", 3: "H", 4: "I"}  # EXIF integer types -> struct formats
XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
PROFILE = b"Raw profile type exif\0"  # PNG text in which older versions of ImageMagick store EXIF, as hexadecimal
MAX_SEARCHED = 1 << 20  # bytes of an XMP packet; larger ones embed a picture, after the orientation of this one
MAX_UNPACKED = 1 << 18  # bytes of such a text; EXIF has at most 64 KB


def read_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Read the EXIF orientation.

    Args:
        exif: a TIFF header and its directories, with or without a leading `Exif\\0\\0`.
        xmp: an XMP packet, used if the EXIF block has no orientation.

    Returns:
        1 to 8; 1 if neither is readable.
    """
    found = 0
    with contextlib.suppress(struct.error, KeyError):
        found = _from_exif(exif.removeprefix(b"Exif\0\0"))
    if not found and (match := XMP.search(xmp, 0, MAX_SEARCHED)):
        found = int(match[1])
    return found if 1 <= found <= 8 else 1


def unpack_profile(text: bytes) -> bytes:
    """Extract the EXIF block from a PNG text that begins with `PROFILE`; b"" if it is damaged."""
    text = text.removeprefix(PROFILE)
    with contextlib.suppress(zlib.error, ValueError):
        if text.startswith(b"\0"):  # zTXt: the compression method
            text = zlib.decompressobj().decompress(text[1:], MAX_UNPACKED)
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    return b""


def _from_exif(block: bytes) -> int:
    """The orientation in the first directory; 0: none."""
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for offset in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", block, offset)
        if tag == TAG:
            return int(struct.unpack_from(order + KINDS[kind], block, offset + 8)[0])
    return 0
