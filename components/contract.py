"""What every room agrees on: what a model is about, and the values that pass between rooms.

Standard library, numpy, pyarrow and pydantic's annotations only, so that anything may import it. The bounds in the
annotations are checked where a value is read from disk, by `components.records`, and not where one is made.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AfterValidator, AliasChoices, Field

from components.errors import FashionError

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

Images = NDArray[np.uint8]  # (n, height, width) where they are grey, (n, height, width, 3) where they are RGB
Labels = NDArray[np.unsignedinteger[Any]]  # (n,), positions in the contract's classes; uint16 where we make them

CATALOGUE_NAME = re.compile("[a-z0-9][a-z0-9-]{0,39}")
MAX_CLASSES = 1_000
IMAGE = re.compile(r"(\d{1,4})x(\d{1,4})(?:x(\d))?")
WHOLE = re.compile("0|[1-9][0-9]{0,3}")  # a label in text
SHOWN = 20  # classes in an error
SMALLEST_SIDE, LARGEST_SIDE = 8, 128  # pixels


def fold_name(name: str) -> str:
    """A class name as names are compared: NFKC, case folded, white space collapsed. Nothing else makes names equal."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


def fingerprint_of(classes: Sequence[str]) -> str:
    """What a client names the classes by that it expects: 16 hex digits of the SHA-256 of their names, a line each."""
    return hashlib.sha256("\n".join(classes).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ImageSpec:
    """What every image of a catalogue is: its size and its channels.

    Raises:
        ValueError: a side outside 8 to 128, or channels other than 1 (grey) and 3 (red, green, blue).
    """

    height: int  # rows
    width: int  # columns
    channels: Literal[1, 3] = 1

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
                raise ValueError(f"an image of {self}; expected sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels")
        if self.channels not in (1, 3):
            raise ValueError(f"an image of {self.channels} channels; expected 1 (grey) or 3 (red, green, blue)")

    @classmethod
    def parse(cls, text: str) -> "ImageSpec":
        """HEIGHTxWIDTH, grey, or HEIGHTxWIDTHxCHANNELS, as in "28x28x1" or "64x64x3".

        Raises:
            ValueError: another text, or an image that no catalogue can have.
        """
        found = IMAGE.fullmatch(text.strip().lower())
        if not found:
            raise ValueError(f"an image of {text[:40]!r}; expected HEIGHTxWIDTHxCHANNELS, as in 28x28x1 or 64x64x3")
        height, width, channels = (int(one or 1) for one in found.groups())
        return cls(height, width, channels)  # type: ignore[arg-type]  # checked there

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width) of grey images, (height, width, 3) of RGB."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)

    @property
    def size(self) -> int:
        """How many numbers an image is, row by row, the channels of a pixel beside each other."""
        return self.height * self.width * self.channels

    def __str__(self) -> str:
        return f"{self.height} x {self.width} x {self.channels}"


@dataclass(frozen=True)
class DataContract:
    """What a catalogue and every model of it are about. The position of a class is its label; its name is what it is.

    Raises:
        ValueError: a name that no catalogue can have, fewer than 2 or more than 1,000 classes, class names that are
            empty or equal, or an alias of no class.
    """

    name: str  # the catalogue's, by which the store names its models: up to 40 small letters, digits and hyphens
    classes: tuple[str, ...]
    image: ImageSpec
    preparation: str  # the name of the function that makes an image of a photo: `components.catalogues.preparation`
    # What else people call a class -> its name. It helps to read labels and changes nothing that was learned from them.
    aliases: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not CATALOGUE_NAME.fullmatch(self.name):
            raise ValueError(
                f"a catalogue called {self.name[:60]!r}; expected up to 40 small letters, digits and hyphens"
            )
        if not 2 <= len(self.classes) <= MAX_CLASSES:
            raise ValueError(f"{len(self.classes)} classes; expected 2 to {MAX_CLASSES:,}")
        if len(self._labels) < len(self.classes):
            folded = [fold_name(name) for name in self.classes]
            twice = next(name for name, one in zip(self.classes, folded, strict=True) if folded.count(one) > 1)
            raise ValueError(f"two classes are called {twice!r}; names differ by more than case and white space")
        if "" in self._labels:
            raise ValueError("a class without a name")
        if strange := [alias for alias, name in self.aliases if fold_name(name) not in self._labels]:
            raise ValueError(f"{strange[0]!r} stands for no class")

    # What is worked out once is kept under a name that begins with "_": orjson writes others out, as it does fields.

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {fold_name(name): label for label, name in enumerate(self.classes)}

    @cached_property
    def _known(self) -> dict[str, int]:
        """Every name and alias -> its label; a name goes before an alias."""
        return {fold_name(alias): self._labels[fold_name(name)] for alias, name in self.aliases} | self._labels

    @cached_property
    def _fingerprint(self) -> str:
        said = {key: value for key, value in asdict(self).items() if key != "aliases"}
        return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def _are_numbers(self) -> bool:
        return any(name.isdecimal() for name in self._labels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what it says, hex: equal where two contracts are, whatever their aliases."""
        return self._fingerprint

    @property
    def are_numbers(self) -> bool:
        """Whether a class is called by a number, so that a number in a column of labels is a name, no position."""
        return self._are_numbers

    @property
    def choices(self) -> str:
        """What a label may be written as, in the words of an error."""
        names = ", ".join(self.classes[:SHOWN]) + (" ..." if len(self.classes) > SHOWN else "")
        return f"one of {names}" if self.are_numbers else f"0 to {len(self.classes) - 1} or one of {names}"

    def label_of(self, name: str) -> int | None:
        """The class that a folder or a cell names, by its name or an alias; None where it names none."""
        return self._known.get(fold_name(name))

    def label_of_number(self, number: int) -> int | None:
        """The class that a number in a column of labels means: its position, or its name where names are numbers."""
        if self.are_numbers:
            return self._labels.get(str(number))
        return number if 0 <= number < len(self.classes) else None

    def label_of_cell(self, cell: object) -> int | None:
        """The class that a cell of a table or a field of JSON means, by name or by number; None where it means none."""
        if isinstance(cell, str):
            text = cell.strip()
            label = self.label_of(text)
            return self.label_of_number(int(text)) if label is None and WHOLE.fullmatch(text) else label
        return self.label_of_number(cell) if type(cell) is int else None

    def difference(self, other: "DataContract") -> str:
        """The first thing in which another contract differs, in words; "" where the two are equal."""
        for what in ("name", "image", "preparation"):
            mine, found = getattr(self, what), getattr(other, what)
            if mine != found:
                return f"{what}: found {str(found)!r}, expected {str(mine)!r}"
        for label, (mine, found) in enumerate(zip(self.classes, other.classes, strict=False)):
            if mine != found:
                return f"class {label}: found {found!r}, expected {mine!r}"
        if len(self.classes) != len(other.classes):
            return f"found {len(other.classes)} classes, expected {len(self.classes)}"
        return ""


@dataclass(frozen=True)
class Revision:
    """One change of a catalogue's classes. A dataset and its models carry all of them, the oldest first."""

    before: tuple[str, ...]  # the classes until then, by label
    became: tuple[tuple[str, ...], ...]  # of each, the classes its images went to; () of one that was removed


def require_equal(expected: DataContract, found: DataContract, where: str, error: type[FashionError]) -> None:
    """Check that what meets is about the same: a model and a dataset, or two models.

    Raises:
        FashionError: of the kind given; it names the first difference.
    """
    if difference := expected.difference(found):
        raise error(f"{where}: its data contract is another: {difference}")


def _check_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("expected a time zone")
    return text


Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Natural = Annotated[int, Field(ge=0, le=10**12)]
Positive = Annotated[int, Field(ge=1, le=10**12)]
Time = Annotated[str, AfterValidator(_check_time)]  # ISO 8601 with a zone
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
NoHash = Literal[""]

SAMPLE = "sample"  # the source name of everything made from the drawn stand-in


def schema_of(image: ImageSpec) -> pa.Schema:
    """The columns of a dataset's Parquet parts."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),  # "train-00042"
            pa.field("split", pa.string(), nullable=False),
            pa.field("label", pa.uint16(), nullable=False),
            pa.field("pixels", pa.binary(image.size), nullable=False),  # row by row
        ]
    )


@dataclass(frozen=True)
class Dataset:
    """An immutable dataset on disk, by the path of its manifest."""

    path: Path  # the manifest; its parts are named in it, relative to its folder
    version: str  # SHA-256 of the manifest, 16 hex digits
    rows: int
    source: str  # "fashion-mnist", "sample", or the name a folder gives itself
    contract: DataContract


@dataclass(frozen=True)
class Validated:
    """The receipt of a passed validation: the only thing that training takes."""

    dataset: Dataset
    expectations: int  # how many were run, all of them met
    docs: Path  # the Data Docs page
    checked_at: str  # ISO 8601, UTC


@dataclass(frozen=True)
class ClassMetrics:
    """How well one class is told from the others, each from 0 to 1."""

    name: str
    precision: Share
    recall: Share
    f1: Share
    support: Natural  # images of this class


@dataclass(frozen=True)
class ProbabilityMetrics:
    """How far probabilities can be believed."""

    loss: NonNegative  # mean cross-entropy, nats
    brier: Annotated[float, Field(ge=0, le=2)]  # mean squared distance from the one-hot label, 0 to 2
    calibration_error: Share  # expected: confidence against accuracy in 15 bins, 0 to 1


@dataclass(frozen=True)
class Metrics:
    """What a model does on one split."""

    split: Split
    split_version: str  # SHA-256 over the split's parts, 16 hex digits: equal means the same images
    rows: Natural
    accuracy: Share
    accuracy_interval: tuple[Share, Share]  # Wilson's, 95 %
    loss: NonNegative  # mean cross-entropy of the network's own probabilities, nats
    uncalibrated: ProbabilityMetrics  # of the network's own probabilities
    calibrated: ProbabilityMetrics  # of those that are served: the logits divided by the temperature
    coverage: Share  # share of the images that the model is sure of
    sure_accuracy: Share  # on those; 0 where there are none
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[Natural, ...], ...]  # [true][predicted]

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that have images, each counted alike however many it has; 0 to 1."""
        found = [one.f1 for one in self.classes if one.support]
        return sum(found) / len(found) if found else 0.0

    @property
    def is_skewed(self) -> bool:
        """Whether the largest class has more than twice the images of the smallest."""
        supports = [one.support for one in self.classes]
        return max(supports) > 2 * min(supports)


@dataclass(frozen=True)
class Calibration:
    """What turns logits into served probabilities, and when the model is sure; fitted on the validation rows."""

    temperature: Annotated[float, Field(gt=0)] = 1.0  # the logits are divided by it before the softmax
    thresholds: tuple[Share, ...] = ()  # sure of class c: its probability exceeds thresholds[c]; (): of all
    target: Share = 0.97  # the accuracy aimed at where the model is sure, in each class
    rows: Natural = 0  # validation images it was fitted on

    def bars(self, classes: int) -> NDArray[np.float32]:
        """float32 (classes,): sure of a class is a model whose probability of it exceeds its own bar."""
        return np.array(self.thresholds or (0.0,) * classes, np.float32)


@dataclass(frozen=True)
class Profile:
    """What traffic should look like: counts of test images, which no model was trained on, by the class predicted."""

    limits: dict[str, tuple[float, ...]]  # measure -> its bins' upper limits; the last bin has none
    counts: dict[str, tuple[tuple[Natural, ...], ...]]  # measure -> [predicted class][bin], one bin more than limits
    not_sure: tuple[Natural, ...]  # of each predicted class's images


@dataclass(frozen=True)
class Epoch:
    """One epoch as it happened. Losses are the mean cross-entropy with the true labels, nats."""

    number: Positive  # from 1
    loss: NonNegative  # over the epoch's steps: training mode, augmented images, weights that change
    accuracy: Share  # likewise
    validation_loss: NonNegative
    validation_accuracy: Share
    seconds: NonNegative  # the steps and the validation


@dataclass(frozen=True)
class Probed:
    """What a network said of one test image right after its training: any later code must say the same."""

    id: str
    probabilities: tuple[Share, ...]  # calibrated, (classes,)


@dataclass(frozen=True)
class ModelCard:
    """What is known of a stored model: kept as `model.json` beside its weights."""

    preset: str
    contract: DataContract
    model: dict[str, Any]  # ModelConfig, as JSON
    training: dict[str, Any]  # TrainConfig, as JSON, with the seed
    hardware: dict[str, Any]  # what trained it: device, precision, threads
    source: str  # the dataset's
    dataset_version: str
    expectations: Natural  # how many the dataset met before the training
    calibration: Calibration
    train: Metrics
    test: Metrics
    history: tuple[Epoch, ...]
    best_epoch: Natural  # the one whose weights these are
    train_seconds: NonNegative
    created_at: Time  # UTC
    git_commit: str  # of the code that trained it, "+changes" when the tree had any, "unknown" outside git
    packages: dict[str, str]  # name -> version
    weights_sha256: NoHash | Sha256 = ""  # filled in when the model is stored
    probes: tuple[Probed, ...] = ()  # ten test images of each class, as far as there are
    licence: str = ""  # the dataset's, as its source says; "" in cards of before it was kept
    profile: Profile | None = None  # what drift is measured against; None in cards of before it was kept
    code: str = ""  # of the sources that trained it: `training.identity`; "" in cards of before it was kept
    revisions: tuple[Revision, ...] = ()  # of its classes, as its dataset has them

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.contract.classes

    @property
    def input(self) -> str:
        """What its network was given, in words."""
        shape = ", ".join(map(str, self.contract.image.shape))
        return f"uint8 (n, {shape}), 0 to 255, divided by 255"

    @property
    def is_sample(self) -> bool:
        """Whether it was trained on the drawn stand-in."""
        return self.source == SAMPLE


@dataclass(frozen=True)
class GateCheck:
    """One question of the gate, with what was measured and what was asked for."""

    name: str
    passed: bool
    measured: str  # in words and units, "" where nothing can be measured
    bound: str
    message: Annotated[str, Field(validation_alias=AliasChoices("message", "told"))]  # both, as a sentence; once `told`


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a challenger; kept as `verdict.json` beside its weights."""

    challenger: str  # exact tag
    champion: str | None  # the live model it was compared with
    when: Time  # UTC
    split_version: str  # of the test images both were measured on; "" where they could not be read
    rows: Natural  # how many these are
    checks: tuple[GateCheck, ...]
    bounds: dict[str, Any]  # the gate's settings
    challenger_sha256: NoHash | Sha256 = ""  # of its card, which has that of its weights: what was judged may go live
    champion_sha256: NoHash | Sha256 = ""
    forced: str = ""  # the reason a person gave for going past the gate; "" where the canary failed, which stands

    @property
    def passed(self) -> bool:
        """Whether there are checks, and every one is met."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def outcome(self) -> Literal["passed", "forced", "refused"]:
        """What it lets happen."""
        return "passed" if self.passed else "forced" if self.forced else "refused"

    def __str__(self) -> str:
        failed = [check.message for check in self.checks if not check.passed]
        told = "; ".join(failed) or f"{len(self.checks)} checks passed"
        return f"forced: {self.forced}; past: {told}" if self.outcome == "forced" else told


@dataclass(frozen=True)
class Predictions:
    """What a model says of n images."""

    model: str  # exact tag
    classes: tuple[str, ...]  # the names of the classes that the model knows, by label
    labels: Labels  # (n,)
    probabilities: NDArray[np.float32]  # (n, classes), calibrated, each row sums to 1
    sure: NDArray[np.bool_]  # (n,), whether the image shows something and the probability exceeds the class's threshold

    @property
    def names(self) -> list[str]:
        """The predicted classes' names, (n,)."""
        return [self.classes[label] for label in self.labels]

    @property
    def confidences(self) -> NDArray[np.float32]:
        """The probability of the predicted class, float32 (n,)."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]
