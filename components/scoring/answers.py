"""The fields of a prediction, the same in files, in tables over HTTP and in JSON."""

from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from components.contract import Predictions, Share

# Named types, so that the OpenAPI description can list the classes.
Label = TypeAliasType("Label", Annotated[int, Field(ge=0, description="Index of the class.")])
ClassName = TypeAliasType("ClassName", Annotated[str, Field(description="Name of the class.")])
Probabilities = TypeAliasType(
    "Probabilities", Annotated[list[Share], Field(description="Probability of each class, by label.")]
)

closed = with_config(ConfigDict(extra="forbid"))

Columns = list[list[Any]]  # in the order of a schema, each with n values; None marks a missing value


@closed
class LikelyClass(TypedDict):
    """One of the most likely classes of an image."""

    label: Label
    name: ClassName
    probability: Share


@closed
class Answer(TypedDict):
    """The prediction for one image, as JSON. Tables have the same fields without the lists, plus the model."""

    label: Label
    name: ClassName
    confidence: Annotated[Share, Field(description="Calibrated probability of this class.")]
    sure: Annotated[
        bool,
        Field(description="False if the model abstains: the image is blank, or the confidence is below the threshold."),
    ]
    known: Annotated[
        bool | None,
        Field(
            description="False if the image is unlike everything that the model was trained on. Of images like the "
            "training images, about 5 % are false too. Null if the model cannot tell."
        ),
    ]
    familiarity: Annotated[
        Share | None, Field(description="Share of held-out training images that are less familiar. Null like `known`.")
    ]
    probabilities: Probabilities
    top: NotRequired[Annotated[list[LikelyClass], Field(description="The most likely classes, most likely first.")]]


def to_answers(predictions: Predictions) -> list[Answer]:
    """Convert n predictions to answers. The probabilities stay NumPy arrays, which orjson serializes."""
    names, rows = predictions.classes, predictions.probabilities
    columns = (predictions.labels.tolist(), predictions.sure.tolist(), *_known_columns(predictions), rows)
    answers: list[Answer] = [
        {
            "label": label,
            "name": names[label],
            "confidence": row[label],
            "sure": sure,
            "known": known,
            "familiarity": familiarity,
            "probabilities": row,
        }
        for label, sure, known, familiarity, row in zip(*columns, strict=True)
    ]
    return answers


def add_top(answers: Sequence[Answer], names: Sequence[str], top: int) -> None:
    """Add the `top` most likely classes to each answer, if any."""
    for answer in answers if top else ():
        row: Any = answer["probabilities"]
        likeliest = np.argsort(-row, kind="stable")[:top].tolist()
        answer["top"] = [{"label": label, "name": names[label], "probability": row[label]} for label in likeliest]


def _known_columns(
    predictions: Predictions, rows: NDArray[np.intp] | slice = slice(None)
) -> tuple[list[Any], list[Any]]:
    """Whether some rows are known, and their familiarity; None for each if the model cannot tell."""
    if predictions.known is None or predictions.familiarity is None:
        missing = [None] * len(predictions.labels[rows])
        return missing, missing
    return predictions.known[rows].tolist(), list(predictions.familiarity[rows])  # float32: fewer digits in JSON


def answer_schema(classes: Sequence[str], text: pa.DataType | None = None) -> pa.Schema:
    """The columns of an answer; the last one is the exact tag of the model.

    Args:
        classes: the model's classes.
        text: the type of names and tags; None means strings.
    """
    text = text or pa.string()
    return pa.schema(
        [
            ("label", pa.uint8() if len(classes) <= 256 else pa.uint16()),
            ("name", text),
            ("confidence", pa.float32()),
            ("sure", pa.bool_()),
            ("known", pa.bool_()),
            ("familiarity", pa.float32()),
            ("model", text),
        ]
    )


def to_columns(predictions: Predictions, rows: NDArray[np.intp] | slice = slice(None)) -> Columns:
    """Convert predictions, or some of their rows, to the columns of `answer_schema`."""
    labels = predictions.labels[rows].tolist()
    return [
        labels,
        [predictions.classes[label] for label in labels],
        predictions.confidences[rows].tolist(),
        predictions.sure[rows].tolist(),
        *_known_columns(predictions, rows),
        [predictions.model] * len(labels),
    ]
