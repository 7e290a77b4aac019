"""Classifier: a trained network with its tag and card."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from components.contract import DataContract, Images, ModelCard
from components.model.inputs import to_rows
from components.model.numpy_mlp import NumpyMLP, softmax

Arithmetic = Literal["float32", "int8"]


@dataclass(frozen=True)
class Classifier:
    """A stored model, as returned by `load_model` and used by `predict`."""

    tag: str  # exact, "fashion-mlp:<version>"
    card: ModelCard
    network: NumpyMLP

    arithmetic: ClassVar[Arithmetic] = "float32"

    def __repr__(self) -> str:
        classes = f"{len(self.contract.classes)} classes, images of {self.contract.image}"
        return f"Classifier({self.tag}, {self.card.preset}: {classes}, test accuracy {self.card.test.accuracy:.4f})"

    @property
    def contract(self) -> DataContract:
        """Data contract of the training data: image format and classes."""
        return self.card.contract

    @np.errstate(all="ignore")  # numbers that are not finite are refused where a model is loaded
    def logits(self, images: Images) -> NDArray[np.float32]:
        """Return uncalibrated logits, float32 (n, classes), for images, (n,)."""
        return self.network.output(self._hide(images, to_rows(images)))

    @np.errstate(all="ignore")
    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """Return calibrated probabilities, float32 (n, classes), for images, (n,)."""
        return self._calibrate(self.logits(images))

    @np.errstate(all="ignore")
    def judge(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return calibrated probabilities, float32 (n, classes), and distances to the training images, float32 (n,).

        Of images, (n,). The distances are None for a model that does not detect unknown inputs.
        """
        inputs, measure = to_rows(images), self.network.measure
        hidden = self._hide(images, inputs)
        distances = measure(inputs, hidden) if measure else None
        return self._calibrate(self.network.output(hidden)), distances

    @np.errstate(all="ignore")
    def hidden(self, images: Images) -> NDArray[np.float32]:
        """Return the last hidden layer, float32 (n, units), of images, (n,)."""
        return self.network.hidden(to_rows(images))

    def checked_with(self, images: Images) -> "Classifier":
        """Return a classifier that is as exact as its precision promises, judged by some of the images, (n,)."""
        return self

    def _hide(self, images: Images, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The last hidden layer, of images and the same as model input."""
        return self.network.hidden(inputs)

    def _calibrate(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        logits /= np.float32(self.card.calibration.temperature)
        return softmax(logits)

    @property
    def units(self) -> int:
        """Number of units of the last hidden layer."""
        return self.network.config.widths(self.contract)[-2]

    @cached_property
    def weights(self) -> int:
        """Number of parameters."""
        return sum(weight.size for weight in self.network.parameters)

    @cached_property
    def bytes(self) -> int:
        """Memory of the parameters."""
        return sum(weight.nbytes for weight in self.network.parameters)

    @cached_property
    def thresholds(self) -> NDArray[np.float32]:
        """Confidence threshold of each class, float32 (classes,); the model abstains below it."""
        return self.card.calibration.bars(len(self.contract.classes))
