"""TrainConfig: a whole recipe as one value."""

from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, Literal, get_args, get_type_hints

import pydantic

from components.contract import ImageSpec
from components.errors import SettingsError
from components.model.mlp import ModelConfig
from components.training.tied import grids

RARE, OFTEN = 10, 0.5  # a class is rare where the largest has more than so many times its images; its balance then
LARGEST = 128  # megabytes of a stored network's hidden layers; one prediction reads them all
MAX_CHANNELS = 512
Schedule = Literal["constant", "inverse-time", "one-cycle"]
LabelKind = Literal["integer", "one-hot"]
Precision = Literal["float32", "bfloat16", "auto"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class TrainConfig:
    """A recipe: two trainings of the same configuration on the same data and machine are equal to the bit.

    Raises:
        SettingsError: a value outside the bounds beside it.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    # How long, and in which steps
    epochs: int = 10  # 1 or more
    batch_size: int = 32  # images a step, 1 or more
    patience: int | None = None  # epochs without a lower validation loss before stopping; then the best weights stay
    # The optimizer: Adam, or AdamW where weight_decay is not 0
    learning_rate: float = 1e-3  # the highest of the schedule; above 0 and at most 1
    schedule: Schedule = "constant"
    decay: float = 0.0  # of inverse-time: the rate at step t is learning_rate / (1 + decay * t)
    weight_decay: float = 0.0  # decoupled (arXiv:1711.05101), 0 to 1
    average: float = 0.0  # of the weights: an exponential average with this decay a step is kept; 0 to below 1
    # What is learned from
    labels: LabelKind = "integer"  # the form of the targets; the loss is the same
    label_smoothing: float = 0.0  # share of a target spread over all classes, 0 to below 1
    shift: int = 0  # pixels, 0 to 4: each image is moved by up to so many, each way, anew every time
    flip: bool = False  # half of the images are mirrored left to right
    erase: float = 0.0  # probability that a rectangle, a seventh to half of each side, is blackened; 0 to 1
    rotate: float = 0.0  # degrees, 0 to 45: each image is turned by up to so many, either way
    scale: float = 0.0  # 0 to 0.5: height and width are each multiplied by 1 plus or minus up to so much
    translate: float = 0.0  # 0 to 0.25: each image is moved by up to this share of its sides, either way
    brightness: float = 0.0  # 0 to 0.9: all levels of an image are multiplied by 1 plus or minus up to so much
    colour: float = 0.0  # 0 to 0.9: likewise each channel by itself, of RGB images; grey ones stay as they are
    # 0: each image is as likely to be drawn as any other; 1: each class is. None: `OFTEN` where one is rare
    balance: float | None = None
    # Layers that are convolutions at first: see tied.py
    tied: tuple[int, ...] = ()  # kernel, in pixels, of each of the first layers; () for a plain training
    channels: tuple[int, ...] = ()  # 1 to 512, of each tied layer: see `for_image`; () where hidden names its units
    untied_epochs: int = 0  # after the epochs above, with all layers dense; 0 or more
    untied_learning_rate: float = 1e-4  # the highest in these; above 0 and at most 1
    # The rest
    start_from: str = ""  # exact tag of a model to go on from, see starting.py; "": from the beginning
    validation_share: float = 0.1  # of the training split, above 0 and below 0.5; never trained on
    stratify: bool = False  # hold that share of each class out, one image at least; otherwise of all images together
    seed: int = 0  # of the first weights, the validation rows, the order of the images, augmentation and dropout
    precision: Precision = "float32"  # of the matrix products; auto: bfloat16 where it measures faster
    device: Device = "auto"  # auto: CUDA where there is one
    threads: int | None = None  # of the matrix products, 1 to 256; none: as many as PyTorch takes

    def __post_init__(self) -> None:
        for name in ("tied", "channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives a list
        bounds = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 1 + self.model.batch_norm, "1 or more, with batch_norm 2 or more"),
            "patience": (self.patience is None or self.patience >= 1, "1 or more, or none"),
            "learning_rate": (0 < self.learning_rate <= 1, "above 0 and at most 1"),
            "schedule": (self.schedule in get_args(Schedule), f"one of {', '.join(get_args(Schedule))}"),
            "decay": (0 <= self.decay <= 1, "0 to 1"),
            "weight_decay": (0 <= self.weight_decay <= 1, "0 to 1"),
            "average": (0 <= self.average < 1, "0 or more and less than 1"),
            "labels": (self.labels in get_args(LabelKind), f"one of {', '.join(get_args(LabelKind))}"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 or more and less than 1"),
            "shift": (0 <= self.shift <= 4, "0 to 4 pixels"),
            "erase": (0 <= self.erase <= 1, "0 to 1"),
            "rotate": (0 <= self.rotate <= 45, "0 to 45 degrees"),
            "scale": (0 <= self.scale <= 0.5, "0 to 0.5"),
            "translate": (0 <= self.translate <= 0.25, "0 to 0.25"),
            "brightness": (0 <= self.brightness <= 0.9, "0 to 0.9"),
            "colour": (0 <= self.colour <= 0.9, "0 to 0.9"),
            "balance": (self.balance is None or 0 <= self.balance <= 1, "0 to 1, or none"),
            "tied": (not self.tied or self.model.batch_norm, "none without batch_norm"),
            "untied_epochs": (self.untied_epochs == 0 or (self.tied and self.untied_epochs > 0), "0 without tied"),
            "untied_learning_rate": (0 < self.untied_learning_rate <= 1, "above 0 and at most 1"),
            "validation_share": (0 < self.validation_share < 0.5, "above 0 and below 0.5"),
            "seed": (0 <= self.seed < 2**63, "0 or more, below 2 to the 63rd"),
            "precision": (self.precision in get_args(Precision), f"one of {', '.join(get_args(Precision))}"),
            "threads": (self.threads is None or 1 <= self.threads <= 256, "1 to 256, or none"),
            "device": (self.device in get_args(Device), f"one of {', '.join(get_args(Device))}"),
        }
        for name, (fits, expected) in bounds.items():
            if not fits:
                raise SettingsError(f"{name}: {getattr(self, name)!r}; expected {expected}")
        if self.decay and self.schedule != "inverse-time":
            raise SettingsError(f"decay: {self.decay}; it belongs to the schedule inverse-time, not {self.schedule}")
        if self.channels and len(self.channels) != len(self.tied):
            raise SettingsError(f"channels: {len(self.channels)} layers, but tied has {len(self.tied)}")
        if not all(1 <= channels <= MAX_CHANNELS for channels in self.channels):
            raise SettingsError(f"channels: {self.channels}; expected each to be 1 to {MAX_CHANNELS}")
        if not self.channels and len(self.tied) > len(self.model.hidden):
            raise SettingsError(f"tied: {len(self.tied)} layers, but hidden has {len(self.model.hidden)}")

    def for_image(self, image: ImageSpec) -> "TrainConfig":
        """This recipe with the units of every layer in `hidden`, where it names channels; otherwise itself.

        A tied layer has its channels at each place of its grid, which follows from the image. Where the weights of the
        dense layers would exceed `LARGEST`, the first tied layer has as few channels as it takes, and at least one.
        """
        if not self.channels:
            return self
        places = [rows * columns for rows, columns in grids(image, len(self.channels))]
        units = [channels * place for channels, place in zip(self.channels, places, strict=True)]
        hidden = (*units, *self.model.hidden)
        fitting = _units_that_fit(image, hidden) // places[0]
        hidden = (places[0] * max(1, min(self.channels[0], fitting)), *hidden[1:])
        return replace(self, model=replace(self.model, hidden=hidden), channels=())

    def require_fit(self, image: ImageSpec) -> None:
        """Check that the layers that are tied fit the images, and that the network is not too large.

        Raises:
            SettingsError: a kernel is 1, even or larger than an image, a layer has no whole number of channels, or the
                weights up to the last hidden layer take more than `LARGEST` megabytes.
        """
        if self.channels:
            self.for_image(image).require_fit(image)
            return
        most = min(image.height, image.width)
        sides = grids(image, len(self.tied))
        for kernel, units, (rows, columns) in zip(self.tied, self.model.hidden, sides, strict=False):
            # In the backward pass of a kernel of 1 over several channels PyTorch 2.15 writes past its memory.
            if not 3 <= kernel <= most or kernel % 2 == 0:
                raise SettingsError(
                    f"tied: a kernel of {kernel}; expected an odd number of pixels from 3, at most {most}"
                )
            if units % (rows * columns):
                raise SettingsError(f"hidden: {units} units where tied asks for a multiple of {rows} x {columns}")
        megabytes = _megabytes(image, self.model.hidden)
        if megabytes > LARGEST:
            step = sides[0][0] * sides[0][1] if sides else 1
            fitting = _units_that_fit(image, self.model.hidden) // step * step
            raise SettingsError(
                f"hidden: {self.model.hidden} with images of {image} is {megabytes:,.0f} MB of weights, expected at "
                f"most {LARGEST}; {_describe_fitting(fitting)}"
            )

    @property
    def total_epochs(self) -> int:
        """Of all phases, where patience ends none of them early."""
        return sum(phase.epochs for phase in self.phases())

    def phases(self) -> tuple["TrainConfig", ...]:
        """The trainings that this one is made of: one, or one tied and one untied that starts where it ended.

        One that goes on from another model, whose layers are dense, is the last of these with dense layers.
        """
        if self.start_from and (self.tied or self.model.batch_norm):
            dense = replace(self, model=replace(self.model, batch_norm=False), tied=(), channels=(), untied_epochs=0)
            if not self.untied_epochs:
                return (dense,)
            return (replace(dense, epochs=self.untied_epochs, learning_rate=self.untied_learning_rate),)
        if not self.untied_epochs:
            return (self,)
        untied = replace(
            self,
            model=replace(self.model, batch_norm=False),
            epochs=self.untied_epochs,
            learning_rate=self.untied_learning_rate,
            tied=(),
            untied_epochs=0,
        )
        return replace(self, untied_epochs=0), untied

    def with_overrides(self, overrides: dict[str, Any]) -> "TrainConfig":
        """This recipe with some fields replaced.

        Args:
            overrides: field of TrainConfig or ModelConfig -> value, as from JSON.

        Raises:
            SettingsError: no such field, or a value that cannot be used.
        """
        of_model = {name: value for name, value in overrides.items() if name in _names(ModelConfig)}
        of_training = {name: value for name, value in overrides.items() if name not in of_model}
        unknown = of_training.keys() - (_names(TrainConfig) - {"model"})
        if unknown:
            known = ", ".join(sorted(_names(ModelConfig) | _names(TrainConfig) - {"model"}))
            raise SettingsError(f"{', '.join(sorted(unknown))}: no such field of a training; there are {known}")
        model = replace(self.model, **_typed(ModelConfig, of_model))
        return replace(self, model=model, **_typed(TrainConfig, of_training))


def _megabytes(image: ImageSpec, hidden: tuple[int, ...]) -> float:
    """Of the float32 weights of all hidden layers."""
    return 4 * sum(before * after for before, after in pairwise((image.size, *hidden))) / 1e6


def _units_that_fit(image: ImageSpec, hidden: tuple[int, ...]) -> int:
    """How many units the first hidden layer may have, the others being as they are; 0 or less: none."""
    rest = _megabytes(image, hidden) - _megabytes(image, hidden[:2])  # without the layers before and after the first
    return int((LARGEST - rest) * 1e6 / 4 / (image.size + sum(hidden[1:2])))


def _describe_fitting(units: int) -> str:
    others = "smaller images or narrower layers fit"
    return f"{others}, or {units:,} units in the first" if units > 0 else others


def _names(kind: type) -> set[str]:
    return {one.name for one in fields(kind)}


def _typed(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values as the types that the dataclass names: 3 stays 3, "3" and 3.5 are no epochs."""
    types = get_type_hints(kind)
    typed = {}
    for name, value in values.items():
        given = tuple(value) if isinstance(value, list) else value
        try:
            typed[name] = pydantic.TypeAdapter(types[name]).validate_python(given, strict=True)
        except pydantic.ValidationError as error:
            told = error.errors()[0]["msg"].lower().replace("tuple", "list, as in [512]")
            raise SettingsError(f"{name}: {value!r}; {told}") from error
    return typed
