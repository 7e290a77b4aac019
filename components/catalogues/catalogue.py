"""What a catalogue can define beyond its contract: validation bounds, gate margins and display names.

The defaults are loose bounds that only a broken batch violates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.contract import DataContract, Split

Range = tuple[float, float]


@dataclass(frozen=True)
class ValidationBounds:
    """Validation bounds of a dataset: per image unless noted, for pixels from 0 to 255.

    The built-in catalogue defines them in code. For any other, the defaults apply until a version passes, whose profile
    then replaces them (`components.dataset.profiling`).
    """

    min_rows: int = 1  # per split
    rows: Mapping[Split, tuple[int, int | None]] = field(default_factory=dict)  # of the official files, or profiled
    class_share: Range = (0.0, 1.0)  # of a split
    mean: Range = (0.0, 255.0)
    split_mean: Range = (0.0, 255.0)  # over a split
    deviation: Range = (0.0, 127.5)
    ink: Range = (0.0, 1.0)  # foreground share: pixels that are not 0
    edge: Range = (0.0, 255.0)  # mean of the outermost pixels
    peak: Range = (2.0, 255.0)  # brightest pixel; 1 for pixels scaled to 0 to 1
    contrast: Range | None = (2.0, 127.5)  # per image; a flat colour has 0. None: not checked
    mostly: Mapping[Split, float] = field(default_factory=dict)  # share of images within the ranges above; default: all
    split_means: Mapping[Split, Mapping[str, Range]] = field(default_factory=dict)  # measure -> its mean over the split
    class_counts: Mapping[Split, Mapping[str, int]] = field(default_factory=dict)  # class -> images, as profiled


@dataclass(frozen=True)
class InputBounds:
    """Bounds of the images to classify, for the input sanity check."""

    edge: float = 255.0  # mean of the outermost pixels; above it, an image counts as inverted
    peak: float = 2.0  # brightest pixel; below it, pixels count as scaled to 0 to 1
    dim_peak: float = 16.0  # brightest pixel; below it, an image counts as scaled otherwise
    wrong: float = 0.5  # share of rows that must be within the bounds
    unusual: float = 0.98  # share of rows within the bounds below which a warning is given
    copies: float = 0.05  # maximum share of exact duplicates of earlier rows
    mean_peak: Range = (0.0, 255.0)  # mean of the rows' brightest pixels
    mean_mean: Range = (0.0, 255.0)
    mean_ink: Range = (0.0, 1.0)
    mean_deviation: Range = (0.0, 127.5)


@dataclass(frozen=True)
class QualityFloors:
    """Absolute minimum quality of a live model. Without these floors, the gate derives them from the data."""

    min_accuracy: float
    min_f1: float  # per class
    max_loss: float  # nats
    max_calibration_error: float


@dataclass(frozen=True)
class ArchiveChecksums:
    """Checksums of an official file, hex."""

    md5: str  # of the published file
    sha256: str  # of the published file
    unpacked: str  # SHA-256 of the extracted file


@dataclass(frozen=True)
class OfficialArchives:
    """The IDX archives of a published dataset. The contract's name identifies it."""

    contract: DataContract
    title: str  # display name
    licence: str
    checksums: Mapping[str, ArchiveChecksums]  # file name -> checksums
    mirrors: tuple[str, ...]  # base URLs
    places: tuple[str, ...]  # glob patterns of subfolders in which common tools store the files


@dataclass(frozen=True)
class Catalogue:
    """A contract, and what is known about its data."""

    contract: DataContract
    validation: ValidationBounds = ValidationBounds()
    inputs: InputBounds = InputBounds()
    f1_margins: Mapping[str, float] = field(default_factory=dict)  # class -> F1 it may lose in a promotion
    floors: QualityFloors | None = None  # of the gate
    subject: str = "product"  # noun for what an image shows: "garment"
    outsider: str = "a photo of something else"  # noun phrase for an out-of-distribution image: "a hat"
    hub_name: str = ""  # the dataset's name on Hugging Face
    profiled: bool = True  # whether bounds are profiled from the first version that passes
