"""What a catalogue may say of itself beyond its contract: bounds of its data, margins of its gate, words about it.

Whoever says nothing gets bounds that only a broken batch is outside of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.contract import DataContract, Split

Range = tuple[float, float]


@dataclass(frozen=True)
class ValidationBounds:
    """What an acceptable dataset looks like: of single images where not said otherwise, pixels from 0 to 255.

    A catalogue that ships has them in its code. Of any other the defaults are in force until a version passes; what is
    profiled from that one takes their place (`components.dataset.profiling`).
    """

    min_rows: int = 1  # a split
    rows: Mapping[Split, tuple[int, int | None]] = field(default_factory=dict)  # of the official files, or profiled
    class_share: Range = (0.0, 1.0)  # of a split
    mean: Range = (0.0, 255.0)
    split_mean: Range = (0.0, 255.0)  # over a split
    deviation: Range = (0.0, 127.5)
    ink: Range = (0.0, 1.0)  # share of numbers that are not 0
    edge: Range = (0.0, 255.0)  # mean of the outermost pixels
    peak: Range = (2.0, 255.0)  # the brightest number; of pixels scaled to 0 to 1 it is 1
    contrast: Range | None = (2.0, 127.5)  # of every image; one flat colour has 0. None: not looked at
    mostly: Mapping[Split, float] = field(default_factory=dict)  # share of the images within the ranges above; else all
    split_means: Mapping[Split, Mapping[str, Range]] = field(default_factory=dict)  # measure -> its mean over the split
    class_counts: Mapping[Split, Mapping[str, int]] = field(default_factory=dict)  # class -> images, as profiled


@dataclass(frozen=True)
class InputBounds:
    """What images that are to be classified look like."""

    edge: float = 255.0  # mean of the outermost pixels; above it the image is taken for inverted
    peak: float = 2.0  # the brightest number; below it pixels are taken for shares of 1
    dim_peak: float = 16.0  # likewise; below it the image is taken for another scale
    wrong: float = 0.5  # share of the rows that must be within the bounds
    unusual: float = 0.98  # likewise, and fewer are a warning
    copies: float = 0.05  # share of rows that an earlier row is like, number by number
    mean_peak: Range = (0.0, 255.0)  # of many rows: the mean of their brightest numbers
    mean_mean: Range = (0.0, 255.0)
    mean_ink: Range = (0.0, 1.0)
    mean_deviation: Range = (0.0, 127.5)


@dataclass(frozen=True)
class QualityFloors:
    """What any model of a catalogue must reach to go live. Without them the gate derives floors from the data."""

    min_accuracy: float
    min_f1: float  # of every class
    max_loss: float  # nats
    max_calibration_error: float


@dataclass(frozen=True)
class ArchiveChecksums:
    """Of an official file as it is published, and of what it unpacks to. All hex."""

    md5: str  # as published
    sha256: str  # as published
    unpacked: str  # SHA-256


@dataclass(frozen=True)
class OfficialArchives:
    """The IDX archives in which a dataset is published; their name is the contract's."""

    contract: DataContract
    title: str  # as people call it
    licence: str
    checksums: Mapping[str, ArchiveChecksums]  # name of a file -> its checksums
    mirrors: tuple[str, ...]  # base URLs
    places: tuple[str, ...]  # patterns of the folders that tools put them in, below the one that a person names


@dataclass(frozen=True)
class Catalogue:
    """A contract, and what is known of the data that it is about."""

    contract: DataContract
    validation: ValidationBounds = ValidationBounds()
    inputs: InputBounds = InputBounds()
    f1_margins: Mapping[str, float] = field(default_factory=dict)  # class -> what its F1 may lose at a promotion
    floors: QualityFloors | None = None  # of the gate
    subject: str = "product"  # what an image shows, in a sentence: "garment"
    outsider: str = "a photo of something else"  # what is none of the classes, likewise: "a hat"
    hub_name: str = ""  # the dataset's name on Hugging Face
    profiled: bool = True  # whether the first version that passes says what the next ones look like
