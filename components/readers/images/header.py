"""The header of a picture file, and its limits."""

from dataclasses import dataclass

from components.errors import InputError, InputTooLarge

MAX_PIXELS = 25_000_000  # a large phone photo
MAX_WEBP_PIXELS = 16_777_216  # the WebP decoder holds the picture in memory four times
LONGEST_SIDE = 32_768  # pixels
MAX_PARTS = 10_000  # chunks, segments or blocks per file; a 32 MB PNG in 8 KB chunks has 4,000
MAX_SCANNED = 500_000_000  # pixels of a JPEG times its scans, each of which decodes every pixel; ten are usual
MAX_RUN_LENGTH = 1 << 20  # bytes of a run-length encoded BMP, which Pillow decodes in Python
MAX_RUN_LENGTH_PIXELS = 4_000_000


TRUNCATED = "a damaged picture: the file is truncated. Send the complete file"

Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class PictureHeader:
    """The header of a picture file that is not decoded yet."""

    form: str  # PNG, JPEG, WEBP, GIF or BMP
    width: int
    height: int
    content: bytes  # the file, possibly without metadata
    orientation: int = 1  # as in EXIF
    scans: int = 1  # of a JPEG: how often each pixel is decoded
    depth: int = 8  # bits per sample of a PNG

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def work(self) -> int:
        """Estimated decoding time in units of about 20 ns."""
        share = {"JPEG": (1 + self.scans) / 8, "WEBP": 2}.get(self.form, 1)
        return int(self.pixels * share) + len(self.content) // 4


def remove_ranges(content: bytes, dropped: Ranges) -> bytes:
    """Remove byte ranges from a file; they are sorted and do not overlap."""
    starts = [0, *(end for _, end in dropped)]
    ends = [*(start for start, _ in dropped), len(content)]
    pieces = [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
    view = memoryview(content)
    return content if pieces == [(0, len(content))] else b"".join(view[start:end] for start, end in pieces)


def animated_error(name: str) -> InputError:
    """The error for an animated picture."""
    return InputError(name, "found an animated picture, expected a still one")


def too_many_error(name: str, parts: str) -> InputTooLarge:
    """The error for a file with too many chunks, segments or blocks."""
    return InputTooLarge(name, f"more than {MAX_PARTS:,} {parts}. Save it again as JPEG or PNG")
