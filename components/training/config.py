"""TrainConfig: every setting of a training."""

from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, Literal, get_args, get_type_hints

import pydantic

from components.contract import Embedding, ImageSpec
from components.errors import SettingsError
from components.model.mlp import ModelConfig
from components.training.tied import STRIDE, grids

RARE, DEFAULT_BALANCE = 10, 0.5  # a class is rare if the largest has over 10 times its images; the balance used then
MAX_MEGABYTES = 128  # of the stored hidden layers; each prediction reads them all
MAX_CHANNELS = 512
MAX_STRIDE = 4
CONTINUED = 8  # dense epochs that continue from another model, if its layers were trained with Muon
OF_PIXELS = (
    *("shift", "flip", "erase", "rotate", "scale", "translate", "brightness", "colour"),
    *("tied", "channels", "strides"),
)
Schedule = Literal["constant", "inverse-time", "one-cycle"]
LabelKind = Literal["integer", "one-hot"]
Precision = Literal["float32", "bfloat16", "auto"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of a training. The same configuration, data and machine give bit-identical weights.

    Raises:
        SettingsError: A value is out of range.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    # Duration and batches
    epochs: int = 10  # 1 or more
    batch_size: int = 32  # images per step, 1 or more
    patience: int | None = None  # early stopping: epochs without a lower validation loss; restores the best weights
    # Optimizer: Adam, or AdamW if weight_decay is not 0
    learning_rate: float = 1e-3  # peak of the schedule; 0 < rate <= 1
    schedule: Schedule = "constant"
    decay: float = 0.0  # inverse-time schedule: the rate at step t is learning_rate / (1 + decay * t)
    weight_decay: float = 0.0  # decoupled (arXiv:1711.05101), 0 to 1
    muon: float = 0.0  # peak rate of Muon, of the weight matrices of the hidden layers; 0 to 1; 0: Adam for them too
    average: float = 0.0  # decay per step of the exponential moving average of the weights, 0 <= decay < 1; 0: off
    # Targets and augmentation
    labels: LabelKind = "integer"  # encoding of the targets; the loss is the same
    label_smoothing: float = 0.0  # 0 <= smoothing < 1
    shift: int = 0  # pixels, 0 to 4: random shift of at most this many pixels per axis
    flip: bool = False  # random horizontal flip, probability 0.5
    erase: float = 0.0  # probability of blacking out a random rectangle, 1/7 to 1/2 of each side; 0 to 1
    rotate: float = 0.0  # degrees, 0 to 45: random rotation of at most this angle in either direction
    scale: float = 0.0  # 0 to 0.5: height and width are each scaled by a random factor in [1 - scale, 1 + scale]
    translate: float = 0.0  # 0 to 0.25: random translation of at most this share of each side
    brightness: float = 0.0  # 0 to 0.9: pixels are multiplied by a random factor in [1 - brightness, 1 + brightness]
    colour: float = 0.0  # 0 to 0.9: the same for each channel of RGB images separately; no effect on grey images
    # Sampling: 0 draws images uniformly, 1 draws classes uniformly. None: `DEFAULT_BALANCE` if a class is rare, else 0
    balance: float | None = None
    # Layers that start as convolutions: see tied.py
    tied: tuple[int, ...] = ()  # kernel size, in pixels, of each of the first layers; () for none
    channels: tuple[int, ...] = ()  # of each tied layer, 1 to 512: see `for_image`; () if `hidden` gives the units
    strides: tuple[int, ...] = ()  # of each tied layer, 1 to 4; (): 2 for each
    untied_epochs: int = 0  # epochs with all layers dense, after the epochs above; 0 or more
    untied_learning_rate: float = 1e-4  # peak rate of these epochs; 0 < rate <= 1
    # Everything else
    start_from: str = ""  # exact tag of the model to start from, see starting.py; "": random weights
    validation_share: float = 0.1  # of the training split, held out from training; above 0 and below 0.5
    stratify: bool = False  # hold out that share of each class, at least one image; otherwise of all images
    seed: int = 0  # of the initial weights, the validation split, the order of images, augmentation and dropout
    precision: Precision = "float32"  # of the matrix products; auto: bfloat16 if it measures faster
    device: Device = "auto"  # auto: CUDA if available
    threads: int | None = None  # of the matrix products, 1 to 256; None: PyTorch's default

    def __post_init__(self) -> None:
        for name in ("tied", "channels", "strides"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives a list
        bounds = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 1 + self.model.batch_norm, "1 or more, with batch_norm 2 or more"),
            "patience": (self.patience is None or self.patience >= 1, "1 or more, or none"),
            "learning_rate": (0 < self.learning_rate <= 1, "above 0 and at most 1"),
            "schedule": (self.schedule in get_args(Schedule), f"one of {', '.join(get_args(Schedule))}"),
            "decay": (0 <= self.decay <= 1, "0 to 1"),
            "weight_decay": (0 <= self.weight_decay <= 1, "0 to 1"),
            "muon": (0 <= self.muon <= 1, "0 to 1"),
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
            "seed": (0 <= self.seed < 2**63, "0 to 2**63 - 1"),
            "precision": (self.precision in get_args(Precision), f"one of {', '.join(get_args(Precision))}"),
            "threads": (self.threads is None or 1 <= self.threads <= 256, "1 to 256, or none"),
            "device": (self.device in get_args(Device), f"one of {', '.join(get_args(Device))}"),
        }
        for name, (fits, expected) in bounds.items():
            if not fits:
                raise SettingsError(f"{name}: {getattr(self, name)!r}; expected {expected}")
        if self.decay and self.schedule != "inverse-time":
            raise SettingsError(f"decay: {self.decay}; expected 0 with the schedule {self.schedule}")
        if self.channels and len(self.channels) != len(self.tied):
            raise SettingsError(f"channels: {len(self.channels)} layers; expected {len(self.tied)}, as in tied")
        if not all(1 <= channels <= MAX_CHANNELS for channels in self.channels):
            raise SettingsError(f"channels: {self.channels}; expected each to be 1 to {MAX_CHANNELS}")
        if self.strides and len(self.strides) != len(self.tied):
            raise SettingsError(f"strides: {len(self.strides)} layers; expected {len(self.tied)}, as in tied")
        if not all(1 <= stride <= MAX_STRIDE for stride in self.strides):
            raise SettingsError(f"strides: {self.strides}; expected each to be 1 to {MAX_STRIDE}")
        if not self.channels and len(self.tied) > len(self.model.hidden):
            most = len(self.model.hidden)
            raise SettingsError(f"tied: {len(self.tied)} layers; expected at most {most}, as in hidden")

    def for_image(self, image: ImageSpec | Embedding) -> "TrainConfig":
        """Return the configuration with `channels` resolved to units in `hidden`; itself if it has no `channels`.

        A tied layer has channels * rows * columns units; its grid of rows and columns depends on the image size. If the
        weights would exceed `MAX_MEGABYTES`, the first tied layer gets fewer channels, but at least one.
        """
        if not self.channels or isinstance(image, Embedding):
            return self
        places = [rows * columns for rows, columns in self._grids(image)]
        units = [channels * place for channels, place in zip(self.channels, places, strict=True)]
        hidden = (*units, *self.model.hidden)
        fitting = _units_that_fit(image, hidden) // places[0]
        hidden = (places[0] * max(1, min(self.channels[0], fitting)), *hidden[1:])
        return replace(self, model=replace(self.model, hidden=hidden), channels=())

    def require_fit(self, image: ImageSpec | Embedding) -> None:
        """Check that the tied layers and the augmentation fit the images, and that the network is not too large.

        Raises:
            SettingsError: A setting is about pixels, but the models take vectors; a kernel is 1, even or larger than
                the image; the units of a tied layer are not a multiple of its grid; or the weights up to the last
                hidden layer exceed `MAX_MEGABYTES`.
        """
        if isinstance(image, Embedding):
            if about_pixels := [name for name in OF_PIXELS if getattr(self, name)]:
                expected = "none, because the models of this catalogue take vectors; the preset 'vectors' fits"
                raise SettingsError(f"{about_pixels[0]}: {getattr(self, about_pixels[0])}; expected {expected}")
            self._require_size(image, 1)
            return
        if self.channels:
            self.for_image(image).require_fit(image)
            return
        most = min(image.height, image.width)
        sides = self._grids(image)
        for kernel, units, (rows, columns) in zip(self.tied, self.model.hidden, sides, strict=False):
            # PyTorch 2.15 writes out of bounds in the backward pass of a kernel of 1 over several channels.
            if not 3 <= kernel <= most or kernel % 2 == 0:
                raise SettingsError(f"tied: kernel size {kernel}; expected an odd number of pixels from 3 to {most}")
            if units % (rows * columns):
                raise SettingsError(f"hidden: {units} units in a tied layer; expected a multiple of {rows} x {columns}")
        self._require_size(image, sides[0][0] * sides[0][1] if sides else 1)

    def _grids(self, image: ImageSpec) -> list[tuple[int, int]]:
        return grids(image, self.strides or (STRIDE,) * len(self.tied))

    def _require_size(self, image: ImageSpec | Embedding, step: int) -> None:
        """Check the size of the weights; the units of the first layer are a multiple of `step`."""
        megabytes = _megabytes(image, self.model.hidden)
        if megabytes > MAX_MEGABYTES:
            fitting = _units_that_fit(image, self.model.hidden) // step * step
            raise SettingsError(
                f"hidden: {self.model.hidden} with images of {image} is {megabytes:,.0f} MB of weights, expected at "
                f"most {MAX_MEGABYTES}. {_describe_fitting(fitting)}"
            )

    @property
    def total_epochs(self) -> int:
        """Epochs of all phases, without early stopping."""
        return sum(phase.epochs for phase in self.phases())

    def describe_epochs(self) -> str:
        """10 epochs; 48 epochs (40 tied, then 8 untied)"""
        phases = self.phases()
        split = f" ({phases[0].epochs} tied, then {phases[1].epochs} untied)" if len(phases) == 2 else ""
        return f"{self.total_epochs} epochs{split}"

    def place(self, epoch: int) -> str:
        """Where an epoch is, from 1: 3 of 10; 41 of 48 (untied 1 of 8). With patience a phase may end early."""
        phases = self.phases()
        if len(phases) == 1 or self.patience:
            return f"{epoch} of {self.total_epochs}"
        tied, untied = (phase.epochs for phase in phases)
        phase = f"tied {epoch} of {tied}" if epoch <= tied else f"untied {epoch - tied} of {untied}"
        return f"{epoch} of {self.total_epochs} ({phase})"

    def phases(self) -> tuple["TrainConfig", ...]:
        """Split the training into its phases: one, or a tied phase followed by an untied one.

        A training that starts from another model has the untied phase only, because a stored model has dense layers.
        """
        if self.start_from and (self.tied or self.model.batch_norm):
            plain = replace(self.model, batch_norm=False)
            dense = replace(self, model=plain, tied=(), channels=(), strides=(), muon=0.0, untied_epochs=0)
            if not (self.untied_epochs or self.muon):
                return (dense,)
            epochs = self.untied_epochs or CONTINUED  # the rate of the tied phase suits Muon only
            return (replace(dense, epochs=epochs, learning_rate=self.untied_learning_rate),)
        if not self.untied_epochs:
            return (self,)
        untied = replace(
            self,
            model=replace(self.model, batch_norm=False),
            epochs=self.untied_epochs,
            learning_rate=self.untied_learning_rate,
            tied=(),
            strides=(),
            muon=0.0,
            untied_epochs=0,
        )
        return replace(self, untied_epochs=0), untied

    def with_overrides(self, overrides: dict[str, Any]) -> "TrainConfig":
        """Return the configuration with some fields replaced.

        Args:
            overrides: Field of TrainConfig or ModelConfig -> value, as decoded from JSON.

        Raises:
            SettingsError: A field is unknown, or a value is invalid.
        """
        of_model = {name: value for name, value in overrides.items() if name in _names(ModelConfig)}
        of_training = {name: value for name, value in overrides.items() if name not in of_model}
        unknown = of_training.keys() - (_names(TrainConfig) - {"model"})
        if unknown:
            known = ", ".join(sorted(_names(ModelConfig) | _names(TrainConfig) - {"model"}))
            raise SettingsError(f"{', '.join(sorted(unknown))}: no such training setting; expected one of {known}")
        model = replace(self.model, **_typed(ModelConfig, of_model))
        return replace(self, model=model, **_typed(TrainConfig, of_training))


def _megabytes(image: ImageSpec | Embedding, hidden: tuple[int, ...]) -> float:
    """Return the size of the float32 weights of all hidden layers, in megabytes."""
    return 4 * sum(before * after for before, after in pairwise((image.size, *hidden))) / 1e6


def _units_that_fit(image: ImageSpec | Embedding, hidden: tuple[int, ...]) -> int:
    """Return the most units the first hidden layer may have, with the others unchanged; 0 or less if none fit."""
    rest = _megabytes(image, hidden) - _megabytes(image, hidden[:2])  # weights that the first layer does not affect
    return int((MAX_MEGABYTES - rest) * 1e6 / 4 / (image.size + sum(hidden[1:2])))


def _describe_fitting(units: int) -> str:
    advice = "Use smaller images or narrower layers"
    return f"{advice}, or at most {units:,} units in the first layer" if units > 0 else advice


def _names(kind: type) -> set[str]:
    return {one.name for one in fields(kind)}


def _typed(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Validate values against the types of the dataclass, strictly: neither "3" nor 3.5 is a valid int."""
    types = get_type_hints(kind)
    typed = {}
    for name, value in values.items():
        given = tuple(value) if isinstance(value, list) else value
        try:
            typed[name] = pydantic.TypeAdapter(types[name]).validate_python(given, strict=True)
        except pydantic.ValidationError as error:
            message = error.errors()[0]["msg"].lower().replace("tuple", "list, as in [512]")
            raise SettingsError(f"{name}: {value!r}; {message}") from error
    return typed


def config_of(training: dict[str, Any]) -> TrainConfig:
    """Return the configuration that a model card keeps.

    Raises:
        SettingsError: A value is out of range.
        TypeError: The card has a field of another version.
    """
    fields = dict(training)
    return TrainConfig(model=ModelConfig(**fields.pop("model")), **fields)
