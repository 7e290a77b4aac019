"""What a model says of an image, spelled the same wherever it is written: in files, in tables over HTTP, in JSON."""

from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from components.contract import Predictions, Share

# Named, so that a description of them can say which classes there are.
Label = TypeAliasType("Label", Annotated[int, Field(ge=0, description="The class, by its position.")])
ClassName = TypeAliasType("ClassName", Annotated[str, Field(description="The class, by its name.")])
Probabilities = TypeAliasType("Probabilities", Annotated[list[Share], Field(description="Of each class, by label.")])

closed = with_config(ConfigDict(extra="forbid"))

Columns = list[list[Any]]  # of a schema, in its order, each of n values; None where there is none


@closed
class LikelyClass(TypedDict):
    """One of the likeliest classes of an image."""

    label: Label
    name: ClassName
    probability: Share


@closed
class Answer(TypedDict):
    """What is said of one image, as JSON has it. Columns have the same fields, but for the lists, and the model."""

    label: Label
    name: ClassName
    confidence: Annotated[Share, Field(description="The probability of this class, calibrated.")]
    sure: Annotated[
        bool,
        Field(description="Whether the class is probable enough to act on without a look; never of a blank image."),
    ]
    probabilities: Probabilities
    top: NotRequired[Annotated[list[LikelyClass], Field(description="As many as asked for, likeliest first.")]]


def to_answers(predictions: Predictions, top: int = 0) -> list[Answer]:
    """n answers, each with its `top` likeliest classes. The probabilities are arrays, which orjson takes."""
    names, rows = predictions.classes, predictions.probabilities
    answers: list[Any] = [
        {"label": label, "name": names[label], "confidence": row[label], "sure": sure, "probabilities": row}
        for label, row, sure in zip(predictions.labels.tolist(), rows, predictions.sure.tolist(), strict=True)
    ]
    if top:
        for answer, row in zip(answers, rows, strict=True):
            likeliest = np.argsort(-row, kind="stable")[:top].tolist()
            answer["top"] = [{"label": label, "name": names[label], "probability": row[label]} for label in likeliest]
    return answers


def answer_schema(classes: Sequence[str], text: pa.DataType | None = None) -> pa.Schema:
    """The columns that say it, the exact tag of the model last.

    Args:
        classes: the model's.
        text: the type of names and tags; None: strings.
    """
    text = text or pa.string()
    return pa.schema(
        [
            ("label", pa.uint8() if len(classes) <= 256 else pa.uint16()),
            ("name", text),
            ("confidence", pa.float32()),
            ("sure", pa.bool_()),
            ("model", text),
        ]
    )


def to_columns(predictions: Predictions, rows: NDArray[np.intp] | slice = slice(None)) -> Columns:
    """Predictions, or some of them, as `answer_schema`."""
    labels = predictions.labels[rows].tolist()
    return [
        labels,
        [predictions.classes[label] for label in labels],
        predictions.confidences[rows].tolist(),
        predictions.sure[rows].tolist(),
        [predictions.model] * len(labels),
    ]
