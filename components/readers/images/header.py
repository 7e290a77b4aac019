"""What a picture file declares, and the limits of what is read."""

from dataclasses import dataclass

from components.errors import InputError, InputTooLarge

MAX_PIXELS = 25_000_000  # a large phone photo
MAX_WEBP_PIXELS = 16_777_216  # WebP's decoder has the picture in memory four times
LONGEST_SIDE = 32_768  # pixels
MAX_PARTS = 10_000  # chunks, segments or blocks of a file; a PNG of 32 MB in chunks of 8 KB has 4,000
MAX_SCANNED = 500_000_000  # pixels of a JPEG times its scans, each of which takes time for every pixel; ten are usual
MAX_RUN_LENGTH = 1 << 20  # bytes of a run-length coded BMP, which is decoded in Python
MAX_RUN_LENGTH_PIXELS = 4_000_000


CUT_SHORT = "a damaged picture: it is cut short. Send the whole file"

Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class PictureHeader:
    """A picture file before it is decoded."""

    form: str  # PNG, JPEG, WEBP, GIF or BMP
    width: int
    height: int
    content: bytes  # the file, or what a decoder needs of it
    orientation: int = 1  # as in EXIF
    scans: int = 1  # of a JPEG: how often each pixel is decoded
    depth: int = 8  # bits a sample of a PNG

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height

    @property
    def work(self) -> int:
        """How long decoding takes: about so many times 20 ns."""
        share = {"JPEG": (1 + self.scans) / 8, "WEBP": 2}.get(self.form, 1)
        return int(self.pixels * share) + len(self.content) // 4


def without(content: bytes, dropped: Ranges) -> bytes:
    """A file without some parts of it; they are in their order, and do not overlap."""
    starts = [0, *(end for _, end in dropped)]
    ends = [*(start for start, _ in dropped), len(content)]
    pieces = [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
    view = memoryview(content)
    return content if pieces == [(0, len(content))] else b"".join(view[start:end] for start, end in pieces)


def animated(name: str) -> InputError:
    """The error of several pictures in one file that belong together."""
    return InputError(name, "an animated picture; expected a single one")


def too_many(name: str, parts: str) -> InputTooLarge:
    """The error of a file in more pieces than anybody writes."""
    return InputTooLarge(name, f"more than {MAX_PARTS:,} {parts}. Save it anew as JPEG or PNG")
