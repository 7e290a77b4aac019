"""The data contract of a catalogue, and the types that all packages share.

Imports only the standard library, numpy, pyarrow and pydantic's annotations, so any module can import it. The bounds in
the annotations are checked by `components.records` when a value is read from disk, not when it is created.
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

# uint8 (n, height, width) if grey, (n, height, width, 3) if RGB. With a frozen network before the MLP, records (n,) of
# such a picture and the network's vector: see `DataContract.dtype`.
Images = NDArray[Any]
Labels = NDArray[np.unsignedinteger[Any]]  # (n,), indices into the contract's classes; uint16 when created here

CATALOGUE_NAME = re.compile("[a-z0-9][a-z0-9-]{0,39}")
MAX_CLASSES = 1_000
IMAGE = re.compile(r"(\d{1,4})x(\d{1,4})(?:x(\d))?")
PREPARATION_VERSION = re.compile(r"-[0-9]+$")
LABEL_NUMBER = re.compile("0|[1-9][0-9]{0,3}")  # a label written as text
SHOWN = 20  # classes listed in an error
IN_REPR = 3  # predictions in the `repr` of `Predictions`
SMALLEST_SIDE, LARGEST_SIDE = 8, 128  # pixels


def fold_name(name: str) -> str:
    """Normalize a class name for comparison: NFKC, case folded, white space collapsed."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


def fingerprint_of(classes: Sequence[str]) -> str:
    """The fingerprint by which a client names the classes it expects.

    The first 16 hex digits of the SHA-256 of the class names, joined by line feeds.
    """
    return hashlib.sha256("\n".join(classes).encode()).hexdigest()[:16]


def describe_bad_name(name: str) -> str:
    """Say what is wrong with a catalogue's name, with a valid one close to it."""
    close = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-")
    hint = f": try {close!r}" if close else ""
    return f"found {name[:60]!r}, expected at most 40 lowercase letters, digits and hyphens{hint}"


@dataclass(frozen=True)
class ImageSpec:
    """Height, width and channels of every image in a catalogue.

    Raises:
        ValueError: a side is outside 8 to 128 pixels, or the channels are neither 1 (grey) nor 3 (RGB).
    """

    height: int  # rows
    width: int  # columns
    channels: Literal[1, 3] = 1

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
                raise ValueError(f"found {self}, expected sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels")
        if self.channels not in (1, 3):
            raise ValueError(f"found {self.channels} channels, expected 1 (grey) or 3 (red, green, blue)")

    @classmethod
    def parse(cls, text: str) -> "ImageSpec":
        """Parse HEIGHTxWIDTH (grey) or HEIGHTxWIDTHxCHANNELS, such as "28x28x1" or "64x64x3".

        Raises:
            ValueError: the text has another form, or its values are out of range.
        """
        found = IMAGE.fullmatch(text.strip().lower())
        if not found:
            raise ValueError(f"found {text[:40]!r}, expected HEIGHTxWIDTHxCHANNELS, as in 28x28x1 or 64x64x3")
        height, width, channels = (int(one or 1) for one in found.groups())
        return cls(height, width, channels)  # type: ignore[arg-type]  # checked in __post_init__

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width) of grey images, (height, width, 3) of RGB."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)

    @property
    def size(self) -> int:
        """Number of values per image, stored row by row with the channels of a pixel adjacent."""
        return self.height * self.width * self.channels

    def __str__(self) -> str:
        return f"{self.height} x {self.width} x {self.channels}"


@dataclass(frozen=True)
class Embedding:
    """A frozen network that turns a photo into a vector, the input of a catalogue's models instead of pixels."""

    network: str  # its name, for people: "efficientnet-lite0"
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # of its ONNX file
    size: Annotated[int, Field(ge=1, le=65_536)]  # values of a vector
    side: Annotated[int, Field(ge=32, le=1_024)]  # pixels of the square photo that it takes
    compared: Annotated[int, Field(ge=1, le=65_536)]  # leading values by which unknown photos are detected: activations

    def __str__(self) -> str:
        return f"{self.network} ({self.sha256[:12]})"


@dataclass(frozen=True)
class DataContract:
    """The classes and images of a catalogue and all its models. A label is an index into `classes`.

    Raises:
        ValueError: the name is invalid, there are fewer than 2 or more than 1,000 classes, class names are empty or
            equal, or an alias stands for an unknown class.
    """

    name: str  # of the catalogue; part of its models' tags: at most 40 lowercase letters, digits and hyphens
    classes: tuple[str, ...]
    image: ImageSpec
    preparation: str  # the function that turns a photo into an image, by name: see `components.catalogues.preparation`
    # Alias -> class name. Aliases only help to read labels, so they are not part of the comparison.
    aliases: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    embedding: Embedding | None = None  # the frozen network; None: models take pixels

    def __post_init__(self) -> None:
        if not CATALOGUE_NAME.fullmatch(self.name):
            raise ValueError(f"the catalogue's name: {describe_bad_name(self.name)}")
        if not 2 <= len(self.classes) <= MAX_CLASSES:
            raise ValueError(f"{len(self.classes)} classes; expected 2 to {MAX_CLASSES:,}")
        if len(self._labels) < len(self.classes):
            folded = [fold_name(name) for name in self.classes]
            twice = next(name for name, one in zip(self.classes, folded, strict=True) if folded.count(one) > 1)
            raise ValueError(f"two classes are called {twice!r}; names must differ by more than case and white space")
        if "" in self._labels:
            raise ValueError("a class without a name")
        if strange := [alias for alias, name in self.aliases if fold_name(name) not in self._labels]:
            raise ValueError(f"{strange[0]!r} stands for no class")

    # Cached values need a leading underscore: orjson serializes all other attributes along with the fields.

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {fold_name(name): label for label, name in enumerate(self.classes)}

    @cached_property
    def _known(self) -> dict[str, int]:
        """Every name and alias -> its label; names take precedence over aliases."""
        return {fold_name(alias): self._labels[fold_name(name)] for alias, name in self.aliases} | self._labels

    @cached_property
    def _fingerprint(self) -> str:
        values = {key: value for key, value in self.fields().items() if key != "aliases"}
        return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def _are_numbers(self) -> bool:
        return any(name.isdecimal() for name in self._labels)

    def fields(self) -> dict[str, Any]:
        """The contract as JSON values. Without an embedding, the key is left out, as in contracts older than it."""
        values = asdict(self)
        if self.embedding is None:
            del values["embedding"]
        return values

    @cached_property
    def _dtype(self) -> np.dtype[Any]:
        picture = np.dtype((np.uint8, self.image.shape))
        if self.embedding is None:
            return picture
        return np.dtype([("picture", picture), ("vector", np.dtype((np.float32, (self.embedding.size,))))])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one image: uint8 pixels, or a record of `picture` and `vector`. `numpy.empty(n, dtype)` makes `Images`."""
        return self._dtype

    @property
    def compared(self) -> int:
        """Number of leading input values by which unknown inputs are detected."""
        return self.embedding.compared if self.embedding else self.image.size

    @property
    def input(self) -> "ImageSpec | Embedding":
        """What models take: pixels or vectors. Its `size` is the number of values per image."""
        return self.embedding or self.image

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the contract without its aliases, hex."""
        return self._fingerprint

    @property
    def are_numbers(self) -> bool:
        """Whether any class name is a number, so that a number in a label column is a name and not an index."""
        return self._are_numbers

    @property
    def choices(self) -> str:
        """The accepted spellings of a label, for an error message."""
        names = ", ".join(self.classes[:SHOWN]) + (" ..." if len(self.classes) > SHOWN else "")
        return f"one of {names}" if self.are_numbers else f"0 to {len(self.classes) - 1} or one of {names}"

    def label_of(self, name: str) -> int | None:
        """The label of a class name or alias; None if unknown."""
        return self._known.get(fold_name(name))

    def label_of_number(self, number: int) -> int | None:
        """The label for a number in a label column: an index, or a class name if names are numbers. None if unknown."""
        if self.are_numbers:
            return self._labels.get(str(number))
        return number if 0 <= number < len(self.classes) else None

    def label_of_cell(self, cell: object) -> int | None:
        """The label for a table cell or JSON value, given by name or by number; None if unknown."""
        if isinstance(cell, str):
            text = cell.strip()
            label = self.label_of(text)
            return self.label_of_number(int(text)) if label is None and LABEL_NUMBER.fullmatch(text) else label
        return self.label_of_number(cell) if type(cell) is int else None

    @property
    def preparation_family(self) -> str:
        """The preparation without its version: "fashion-mnist" for "fashion-mnist-2"."""
        return PREPARATION_VERSION.sub("", self.preparation)

    def difference(self, other: "DataContract") -> str:
        """Describe the first difference from another contract; "" if models of both can be compared.

        Versions of one preparation leave prepared images as they are, so models of two versions can.
        """
        for what, key in (
            ("name", "name"),
            ("image", "image"),
            ("preparation", "preparation_family"),
            ("embedding", "embedding"),
        ):
            if getattr(self, key) != getattr(other, key):
                mine, found = getattr(self, what), getattr(other, what)
                return f"{what}: found {str(found)!r}, expected {str(mine)!r}"
        for label, (mine, found) in enumerate(zip(self.classes, other.classes, strict=False)):
            if mine != found:
                return f"class {label}: found {found!r}, expected {mine!r}"
        if len(self.classes) != len(other.classes):
            return f"found {len(other.classes)} classes, expected {len(self.classes)}"
        return ""


@dataclass(frozen=True)
class Revision:
    """One change of a catalogue's classes. A dataset and its models carry all of them, oldest first."""

    before: tuple[str, ...]  # the classes before the change, by label
    became: tuple[tuple[str, ...], ...]  # per class, the classes that its images went to; () if it was removed


def require_equal(expected: DataContract, found: DataContract, where: str, error: type[FashionError]) -> None:
    """Check that two data contracts match: a model's and a dataset's, or those of two models.

    Raises:
        error: they differ; the message names the first difference.
    """
    if difference := expected.difference(found):
        raise error(f"{where}: its data contract differs: {difference}")


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

SAMPLE = "sample"  # source name of the synthetic sample


def schema_of(contract: DataContract) -> pa.Schema:
    """The schema of a dataset's Parquet parts."""
    fields = [
        pa.field("id", pa.string(), nullable=False),  # "train-00042"
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.uint16(), nullable=False),
        pa.field("pixels", pa.binary(contract.image.size), nullable=False),  # row by row
    ]
    if contract.embedding:
        value = pa.field("element", pa.float32(), nullable=False)
        fields.append(pa.field("vector", pa.list_(value, contract.embedding.size), nullable=False))
    return pa.schema(fields)


def pictures_of(images: Images) -> NDArray[np.uint8]:
    """The pictures of images, uint8 (n, height, width[, 3]): for people and statistics; `to_input` is for models."""
    return images["picture"] if images.dtype.names else images


@dataclass(frozen=True)
class Dataset:
    """An immutable dataset on disk, identified by its manifest."""

    path: Path  # the manifest, which lists the parts relative to its folder
    version: str  # SHA-256 of the manifest, 16 hex digits
    rows: int
    source: str  # "fashion-mnist", "sample", or the name in a folder's `source.json`
    contract: DataContract

    def __repr__(self) -> str:
        return f"Dataset({self.version}, {self.source}: {self.rows:,} rows, {len(self.contract.classes)} classes)"


@dataclass(frozen=True)
class Validated:
    """The receipt of a passed validation. Training accepts nothing else."""

    dataset: Dataset
    expectations: int  # how many were run; all were met
    docs: Path  # the validation page; of an old receipt, the Data Docs
    checked_at: str  # ISO 8601, UTC

    def __repr__(self) -> str:
        return f"Validated({self.dataset.version}: {self.expectations} expectations met, {self.dataset.rows:,} rows)"


@dataclass(frozen=True)
class ClassMetrics:
    """Precision, recall and F1 of one class, each from 0 to 1."""

    name: str
    precision: Share
    recall: Share
    f1: Share
    support: Natural  # images of this class


@dataclass(frozen=True)
class ProbabilityMetrics:
    """Quality of predicted probabilities."""

    loss: NonNegative  # mean cross-entropy, nats
    brier: Annotated[float, Field(ge=0, le=2)]  # mean squared distance from the one-hot label, 0 to 2
    calibration_error: Share  # expected: confidence against accuracy in 15 bins, 0 to 1


@dataclass(frozen=True)
class Metrics:
    """A model's metrics on one split."""

    split: Split
    split_version: str  # SHA-256 over the split's parts, 16 hex digits; equal versions have the same images
    rows: Natural
    accuracy: Share
    accuracy_interval: tuple[Share, Share]  # Wilson score interval, 95 %
    loss: NonNegative  # mean cross-entropy of the uncalibrated probabilities, nats
    uncalibrated: ProbabilityMetrics  # before temperature scaling
    calibrated: ProbabilityMetrics  # after temperature scaling, as served
    coverage: Share  # share of images on which the model does not abstain
    sure_accuracy: Share  # accuracy on those; 0 if there are none
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[Natural, ...], ...]  # [true][predicted]

    @property
    def macro_f1(self) -> float:
        """Unweighted mean F1 of the classes that have images, 0 to 1."""
        found = [one.f1 for one in self.classes if one.support]
        return sum(found) / len(found) if found else 0.0

    @property
    def is_skewed(self) -> bool:
        """Whether the largest class has more than twice the images of the smallest."""
        supports = [one.support for one in self.classes]
        return max(supports) > 2 * min(supports)


@dataclass(frozen=True)
class Calibration:
    """Temperature and per-class confidence thresholds, fitted on the validation rows."""

    temperature: Annotated[float, Field(gt=0)] = 1.0  # the logits are divided by it before the softmax
    thresholds: tuple[Share, ...] = ()  # the model abstains on class c unless its probability exceeds thresholds[c]
    target: Share = 0.97  # target accuracy of each class above its threshold; of rare classes, together
    rows: Natural = 0  # number of validation images used for the fit

    def bars(self, classes: int) -> NDArray[np.float32]:
        """The threshold of each class, float32 (classes,); 0 for all classes if none were fitted."""
        return np.array(self.thresholds or (0.0,) * classes, np.float32)


@dataclass(frozen=True)
class KnownRange:
    """How far from the training images the validation images are; what is farther is unknown (`model.known`)."""

    refused: Share  # stated share of known images that count as unknown
    threshold: float  # distances above it are unknown
    quantiles: Annotated[tuple[float, ...], Field(min_length=2)]  # of the distances, evenly spaced, ascending
    rows: Natural  # validation images
    kept: Natural  # training images that distances are measured to
    rank: Natural  # dimensions in which inputs are compared
    test_refused: Share = 0.0  # share of the test images that count as unknown
    groups: Natural = 0  # of the kept images, see `model.known`; 0: the measure of the first version

    def is_known(self, distances: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether inputs are like those that the model was trained on, (n,)."""
        return np.asarray(distances <= self.threshold)

    def familiarity(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        """The share of the validation images that are farther from the training images, 0 to 1, float32 (n,).

        Rounded to three decimals: later ones depend on how images are batched.
        """
        return np.interp(distances, *self._shares).round(3).astype(np.float32)

    @cached_property
    def _shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The quantiles, and the share of the validation images above each."""
        return np.array(self.quantiles), np.linspace(1, 0, len(self.quantiles))


@dataclass(frozen=True)
class Profile:
    """The reference distribution for drift detection: counts of test images by predicted class."""

    limits: dict[str, tuple[float, ...]]  # measure -> upper limits of its bins; the last bin has none
    counts: dict[str, tuple[tuple[Natural, ...], ...]]  # measure -> [predicted class][bin], one more bin than limits
    not_sure: tuple[Natural, ...]  # per predicted class, the images below its threshold
    unknown: tuple[Natural, ...] = ()  # per predicted class, the unknown images; () if the model does not detect them


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch. Losses are mean cross-entropy, nats."""

    number: Positive  # from 1
    loss: NonNegative  # mean over the epoch's steps, in training mode on augmented images
    accuracy: Share  # mean over the epoch's steps, in training mode on augmented images
    validation_loss: NonNegative
    validation_accuracy: Share
    seconds: NonNegative  # steps and validation


@dataclass(frozen=True)
class Probed:
    """A test image's probabilities right after training. The stored model must reproduce them."""

    id: str
    probabilities: tuple[Share, ...]  # calibrated, (classes,)


@dataclass(frozen=True)
class ModelCard:
    """The metadata of a stored model, kept as `model.json` next to its weights."""

    preset: str
    contract: DataContract
    model: dict[str, Any]  # ModelConfig, as JSON
    training: dict[str, Any]  # TrainConfig, as JSON, with the seed
    hardware: dict[str, Any]  # device, precision and threads of the training
    source: str  # of the dataset
    dataset_version: str
    expectations: Natural  # how many the dataset met before training
    calibration: Calibration
    train: Metrics
    test: Metrics
    history: tuple[Epoch, ...]
    best_epoch: Natural  # the epoch that the weights are from
    train_seconds: NonNegative
    created_at: Time  # UTC
    git_commit: str  # of the training code; ends in "+changes" if the tree was dirty; "unknown" outside git
    packages: dict[str, str]  # name -> version
    weights_sha256: NoHash | Sha256 = ""  # set when the model is stored
    probes: tuple[Probed, ...] = ()  # at most ten test images of each class
    licence: str = ""  # of the dataset, as declared by its source; "" in older cards
    profile: Profile | None = None  # reference distribution for drift detection; None in older cards
    code: str = ""  # hash of the training code, see `training.identity`; "" in older cards
    revisions: tuple[Revision, ...] = ()  # of the classes, copied from the dataset
    known: KnownRange | None = None  # None: the model does not detect unknown inputs

    def __repr__(self) -> str:
        accuracy = f"test accuracy {self.test.accuracy:.4f}"
        return f"ModelCard({self.preset}, {len(self.classes)} classes, {accuracy}, dataset {self.dataset_version})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.contract.classes

    @property
    def input(self) -> str:
        """A description of the network's input."""
        if embedding := self.contract.embedding:
            return f"float32 (n, {embedding.size}), from a photo by {embedding}, {embedding.side} x {embedding.side}"
        shape = ", ".join(map(str, self.contract.image.shape))
        return f"uint8 (n, {shape}), 0 to 255, divided by 255"

    @property
    def is_sample(self) -> bool:
        """Whether the model was trained on the synthetic sample."""
        return self.source == SAMPLE


@dataclass(frozen=True)
class GateCheck:
    """One check of the gate: what was measured and what was required."""

    name: str
    passed: bool
    measured: str  # text with units; "" if nothing can be measured
    bound: str
    message: Annotated[str, Field(validation_alias=AliasChoices("message", "told"))]  # codespell:ignore told


DESPITE = "promoted despite: "  # the failed checks and the reason follow


@dataclass(frozen=True)
class Flips:
    """Test images to which a challenger gives another label than the champion: pairs of images and changed images."""

    sure: tuple[Natural, Natural]  # of the images that the champion is sure of
    not_sure: tuple[Natural, Natural]
    by_class: dict[str, tuple[Natural, Natural]]  # by the champion's class


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict on a challenger, kept as `verdict.json` next to its weights."""

    challenger: str  # exact tag
    champion: str | None  # exact tag of the live model it was compared with
    when: Time  # UTC
    split_version: str  # of the test split that both were evaluated on; "" if it could not be read
    rows: Natural  # test images
    checks: tuple[GateCheck, ...]
    bounds: dict[str, Any]  # the gate's settings
    challenger_sha256: NoHash | Sha256 = ""  # of its card, which contains the hash of its weights
    champion_sha256: NoHash | Sha256 = ""
    forced: str = ""  # the reason given for skipping the gate; "" if the canary failed, which cannot be skipped
    flips: Flips | None = None  # None: the classes differ, or the two were not compared

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def outcome(self) -> Literal["passed", "forced", "rejected"]:
        """Whether the challenger may go live: `forced` is promoted with --force despite a rejection by the gate."""
        return "passed" if self.passed else "forced" if self.forced else "rejected"

    def __str__(self) -> str:
        failed = [check.message for check in self.checks if not check.passed]
        summary = "; ".join(failed) or f"{len(self.checks)} checks passed"
        return f"{DESPITE}{summary}; reason: {self.forced}" if self.outcome == "forced" else summary


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for n images."""

    model: str  # exact tag
    classes: tuple[str, ...]  # class names, by label
    labels: Labels  # (n,)
    probabilities: NDArray[np.float32]  # (n, classes), calibrated, each row sums to 1
    sure: NDArray[np.bool_]  # (n,), False if the model abstains: a blank image, or a probability below the threshold
    known: NDArray[np.bool_] | None = None  # (n,), False: unlike all training images; None: it cannot tell
    familiarity: NDArray[np.float32] | None = None  # (n,), see `KnownRange.familiarity`

    def __repr__(self) -> str:
        first = zip(self.names[:IN_REPR], self.confidences, self.sure, strict=False)
        shown = [f"{name} {share:.1%}{'' if sure else ' (abstains)'}" for name, share, sure in first]
        if (left := len(self.labels) - len(shown)) > 0:
            shown.append(f"{left:,} more")
        return f"Predictions({self.model}: {', '.join(shown) or 'none'})"

    @property
    def names(self) -> list[str]:
        """Names of the predicted classes, (n,)."""
        return [self.classes[label] for label in self.labels]

    @property
    def confidences(self) -> NDArray[np.float32]:
        """Probability of the predicted class, float32 (n,)."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    @property
    def unknown(self) -> int:
        """Number of images that are not known; 0 if the model cannot tell."""
        return 0 if self.known is None else int(np.count_nonzero(~self.known))
