"""Small picture files in all formats, and randomly damaged versions of them."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

Pieces = list[tuple[bytes, bytes]]  # kind and content of each chunk or segment
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's colour types
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # Adam7
ODD = (0, 1, 2, 127, 128, 254, 255, 256, 1000, 5000, 32_767, 65_535, 2**31 - 1, 2**32 - 1)


# --- valid files ---


def whole_pictures() -> dict[str, list[bytes]]:
    """Files of each format with sides of at most 63 pixels, which are too small for garment detection."""
    return {
        "PNG": list(_pngs()),
        "JPEG": list(_jpegs()),
        "WEBP": list(_webps()),
        "GIF": list(_gifs()),
        "BMP": list(_bmps()),
    }


def noise(mode: str, width: int = 41, height: int = 30) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    picture = Image.fromarray(pixels, "RGBA")
    return picture if mode == "RGBA" else picture.convert("RGB").convert(mode)


def encode(picture: Image.Image, form: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return content.getvalue()


def exif(orientation: int) -> bytes:
    """EXIF data like a camera's, with a second directory after the first."""
    block = Image.Exif()
    block[0x0112], block[0x010F] = orientation, "A maker"
    return block.tobytes()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    size: tuple[int, int], depth: int, kind: int, rows: bytes, *before: tuple[bytes, bytes], passes: int = 0
) -> bytes:
    """A PNG from raw rows, each starting with its filter byte, and with extra chunks before them."""
    header = (b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, passes))
    return join_png([header, *before, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def join_png(chunks: Pieces) -> bytes:
    return SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def split_png(content: bytes) -> Pieces:
    chunks, place = Pieces(), len(SIGNATURE)
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        chunks.append((kind, content[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def join_jpeg(segments: Pieces) -> bytes:
    """A JPEG from (marker, content); the data of a scan is part of its content."""
    return b"\xff\xd8" + b"".join(b"\xff" + kind + content for kind, content in segments) + b"\xff\xd9"


def split_jpeg(content: bytes) -> Pieces:
    segments, place = Pieces(), 2
    while content[place + 1] != 0xD9:
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        while content[place + 1] == 0xDA and (content[end] != 0xFF or content[end + 1] in {0, *range(0xD0, 0xD8)}):
            end += 1
        segments.append((content[place + 1 : place + 2], content[place + 2 : end]))
        place = end
    return segments


def join_webp(chunks: Pieces) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def split_webp(content: bytes) -> Pieces:
    chunks, place = Pieces(), 12
    while place < len(content):
        kind, length = struct.unpack_from("<4sI", content, place)
        chunks.append((kind, content[place + 8 : place + 8 + length]))
        place += 8 + length + length % 2
    return chunks


def _pngs() -> Iterator[bytes]:
    """Every colour type, bit depth and interlacing, with and without a transparent colour, and with metadata."""
    random = np.random.default_rng(1)
    width, height = 13, 9
    for kind, depths in DEPTHS.items():
        for depth in depths:
            for passes in (0, 1):
                rows = b""
                for left, top, across, down in PASSES if passes else [(0, 0, 1, 1)]:
                    columns, lines = -(-(width - left) // across), -(-(height - top) // down)
                    size = -(-columns * CHANNELS[kind] * depth // 8)
                    rows += b"".join(bytes([random.integers(5)]) + random.bytes(size) for _ in range(lines))
                palette = [(b"PLTE", random.bytes(3 << depth))] if kind == 3 else []
                key = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}.get(kind)
                yield png((width, height), depth, kind, rows, *palette, passes=passes)
                if key:
                    yield png((width, height), depth, kind, rows, *palette, (b"tRNS", key), passes=passes)
    yield encode(noise("RGB"), "PNG", exif=exif(6), icc_profile=b"profile" * 99, dpi=(72, 72))


def _jpegs() -> Iterator[bytes]:
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            yield encode(noise(mode), "JPEG", progressive=progressive, exif=exif(6), comment=b"by a camera")
    yield encode(noise("RGB", 63, 50), "JPEG", quality=30, restart_marker_rows=1)
    yield encode(noise("RGB"), "MPO", save_all=True, append_images=[noise("RGB", 20, 15)])


def _webps() -> Iterator[bytes]:
    for mode in ("RGB", "RGBA"):
        for lossless in (False, True):
            yield encode(noise(mode), "WEBP", lossless=lossless)
    yield encode(noise("RGBA"), "WEBP", exif=exif(6), xmp=b"<x:xmpmeta/>", icc_profile=b"profile")
    yield encode(noise("RGB"), "WEBP", save_all=True, append_images=[noise("RGB").rotate(180)])


def _gifs() -> Iterator[bytes]:
    for mode in ("1", "L", "P"):
        yield encode(noise(mode), "GIF", comment=b"by hand")
    yield encode(noise("P"), "GIF", transparency=3, interlace=0)
    yield encode(noise("P"), "GIF", save_all=True, append_images=[noise("P").rotate(180)], duration=20)


def _bmps() -> Iterator[bytes]:
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield encode(noise(mode), "BMP")
    lines = b"\5\1\3\2\0\0" * 5 + b"\0\4abcd\4\1\0\0" + b"\0\2\2\1"  # runs, literal bytes, a delta
    yield bmp(1, lines + b"\x06\1\0\0\0\1")
    yield bmp(2, lines.replace(b"abcd", b"ab") + b"\x06\1\0\0\0\1", bits=4)


def bmp(compression: int, coded: bytes, size: tuple[int, int] = (8, 8), bits: int = 8) -> bytes:
    """A BMP with run-length encoding."""
    palette = bytes(range(256)) * 4 if bits == 8 else bytes(64)
    start = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(coded), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(coded), 0, 0, start) + header + palette + coded


# --- damage ---

SPLIT: dict[str, tuple[Callable[[bytes], Pieces], Callable[[Pieces], bytes]]] = {
    "PNG": (split_png, join_png),
    "JPEG": (split_jpeg, join_jpeg),
    "WEBP": (split_webp, join_webp),
}


def harm(form: str, wholes: list[bytes], rng: random.Random) -> bytes:
    """A file of this format with at most three faults, at byte level or within chunks with correct checksums."""
    content = rng.choice(wholes)
    if form in SPLIT and rng.random() < 0.6:
        split, join = SPLIT[form]
        pieces, others = split(content), split(rng.choice(wholes))
        for _ in range(rng.randint(1, 3)):
            _harm_pieces(pieces, others, rng)
        content = join(pieces)
        if rng.random() < 0.6:
            return content
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        _harm_bytes(changed, rng, within=64 if form in {"GIF", "BMP"} and rng.random() < 0.5 else len(changed))
    return bytes(changed)


def _harm_pieces(pieces: Pieces, others: Pieces, rng: random.Random) -> None:
    """Remove, repeat or move a piece, insert one of another file, change its type, or damage its content."""
    place = rng.randrange(len(pieces)) if pieces else 0
    match rng.randrange(6) if pieces else 3:
        case 0:
            del pieces[place]
        case 1:
            pieces[place:place] = [pieces[place]] * rng.choice([1, 2, 50])
        case 2:
            pieces.insert(rng.randrange(len(pieces)), pieces.pop(place))
        case 3:
            pieces.insert(place, rng.choice(others))
        case 4:
            pieces[place] = (rng.choice(others)[0], pieces[place][1])
        case _:
            kind, content = pieces[place]
            changed = bytearray(content)
            _harm_bytes(changed, rng, within=rng.choice([16, max(1, len(changed))]))
            pieces[place] = (kind, bytes(changed))


def _harm_bytes(content: bytearray, rng: random.Random, within: int) -> None:
    """Flip a bit, replace, remove, repeat or insert bytes, write an extreme number, or truncate the content."""
    start = rng.randrange(max(1, min(within, len(content))))
    end = min(len(content), start + rng.choice([1, 2, 4, 40]))
    match rng.randrange(7):
        case 0 if content:
            content[start] ^= 1 << rng.randrange(8)
        case 1:
            content[start:end] = rng.randbytes(end - start)
        case 2:
            del content[start:end]
        case 3:
            content[start:start] = content[start:end]
        case 4:
            content[start:start] = rng.randbytes(4)
        case 5:
            kind = rng.choice(["<H", ">H", "<I", ">I"])
            content[start : start + struct.calcsize(kind)] = struct.pack(
                kind, rng.choice(ODD) & (0xFFFF if "H" in kind else 2**32 - 1)
            )
        case _:
            del content[start:]


def palette_picture_without_palette() -> bytes:
    """A PNG of 28 x 28 pixels for which Pillow raises AssertionError when its transparency is read."""
    return png((28, 28), 8, 3, bytes(29) * 28)
