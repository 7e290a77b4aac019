"""What every room agrees on: the ten classes, the image, the columns, and the values that pass between rooms.

Standard library, numpy, pyarrow and pydantic's annotations only, so that anything may import it. The bounds in the
annotations are checked where a value is read from disk, by `components.records`, and not where one is made.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
LETTERS = tuple("".join(filter(str.isalpha, name.lower())) for name in CLASSES)
IMAGE_SHAPE = (28, 28)  # rows, columns; 0 is background (black), 255 the brightest cloth
PIXELS = 784

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

Images = NDArray[np.uint8]  # (n, 28, 28)
Labels = NDArray[np.uint8]  # (n,), 0 to 9


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

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # "train-00042"
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.uint8(), nullable=False),
        pa.field("pixels", pa.binary(PIXELS), nullable=False),  # row-major 28 x 28
    ]
)


@dataclass(frozen=True)
class Dataset:
    """An immutable dataset on disk, by the path of its manifest."""

    path: Path  # the manifest; its parts are named in it, relative to its folder
    version: str  # SHA-256 of the manifest, 16 hex digits
    rows: int
    source: str  # "fashion-mnist", "sample", or the name a folder gives itself


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


@dataclass(frozen=True)
class Calibration:
    """What turns logits into served probabilities, and when the model is sure; fitted on the validation rows."""

    temperature: Annotated[float, Field(gt=0)] = 1.0  # the logits are divided by it before the softmax
    thresholds: tuple[Share, ...] = (0.0,) * len(CLASSES)  # sure of class c: its probability exceeds thresholds[c]
    target: Share = 0.97  # the accuracy aimed at where the model is sure, in each class
    rows: Natural = 0  # validation images it was fitted on


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
    probabilities: tuple[Share, ...]  # calibrated, (10,)


@dataclass(frozen=True)
class ModelCard:
    """What is known of a stored model: kept as `model.json` beside its weights."""

    preset: str
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
    classes: tuple[str, ...] = CLASSES
    input: str = "uint8 (n, 28, 28), 0 background to 255, divided by 255"
    licence: str = ""  # the dataset's, as its source says; "" in cards of before it was kept
    profile: Profile | None = None  # what drift is measured against; None in cards of before it was kept
    code: str = ""  # of the sources that trained it: `training.identity`; "" in cards of before it was kept

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
    told: str  # the two put into a sentence


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
        failed = [check.told for check in self.checks if not check.passed]
        told = "; ".join(failed) or f"{len(self.checks)} checks passed"
        return f"forced: {self.forced}; past: {told}" if self.outcome == "forced" else told


@dataclass(frozen=True)
class Predictions:
    """What a model says of n images."""

    model: str  # exact tag
    labels: Labels  # (n,)
    probabilities: NDArray[np.float32]  # (n, 10), calibrated, each row sums to 1
    sure: NDArray[np.bool_]  # (n,), whether the image shows something and the probability exceeds the class's threshold

    @property
    def names(self) -> list[str]:
        """The predicted classes' names, (n,)."""
        return [CLASSES[label] for label in self.labels]

    @property
    def confidences(self) -> NDArray[np.float32]:
        """The probability of the predicted class, float32 (n,)."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]


def label_of(name: str) -> int | None:
    """The class that a folder or a cell names: by number, or with anything but letters left out ("t-shirt_top")."""
    if name in map(str, range(len(CLASSES))):
        return int(name)
    letters = "".join(filter(str.isalpha, name.lower()))
    return LETTERS.index(letters) if letters in LETTERS else None
