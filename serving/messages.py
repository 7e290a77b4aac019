"""What the endpoints take and answer in JSON, as types; the OpenAPI document is derived from them (`openapi.py`).

What depends on the live model's classes and images is a named type, into which `openapi.py` puts its contract.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from components.contract import Share
from components.scoring.answers import Answer, ClassName, Label, closed

Pixel = Annotated[int, Field(ge=0, le=255)]
Image = TypeAliasType("Image", list[Pixel] | list[list[Pixel]] | list[list[list[Pixel]]])
Kind = Literal["blank", "inverted", "scale", "dim"]


@closed
class Reason(TypedDict):
    """Why a request was refused."""

    status: Annotated[int, Field(examples=[400])]
    field: Annotated[str, Field(examples=["images[3][12]"])]
    reason: Annotated[str, Field(examples=["found 300, expected a whole number from 0 to 255"])]
    expected: NotRequired[
        Annotated[list[str] | None, Field(description="With 409: the classes that were named; null: unknown here.")]
    ]
    found: NotRequired[Annotated[list[str], Field(description="With 409: the classes of the model that answers.")]]


@closed
class Error(TypedDict):
    """The answer to a request that was refused."""

    error: Reason


@closed
class Prediction(Answer):
    """What the model says of one image of a request."""

    file: NotRequired[Annotated[str, Field(description="The file's name, where files were sent.")]]
    seen: NotRequired[Annotated[str, Field(description="A PNG as a data URL.")]]


@closed
class InputWarning(TypedDict):
    """What is unusual about the images of a request."""

    kind: Kind
    images: Annotated[
        list[Annotated[int, Field(ge=0)]],
        Field(description="Which predictions it is about, by position from 0."),
    ]
    reason: Annotated[str, Field(description="What was found, and what to do about it.")]


@closed
class Predictions(TypedDict):
    """The answer to images."""

    model: Annotated[str, Field(description="The exact tag.")]
    predictions: list[Prediction]
    warnings: Annotated[
        list[InputWarning],
        Field(description="What is unusual about the images; empty where nothing is."),
    ]


@closed
class Model(TypedDict):
    """The model that answers."""

    model: str
    live_since: Annotated[str | None, Field(json_schema_extra={"format": "date-time"})]
    follows_pointer: bool
    problem: Annotated[str | None, Field(description="Why a newer model or pointer is not served.")]
    preset: str
    source: str
    dataset_version: str
    test_accuracy: Share
    test_accuracy_interval: Annotated[list[Share], Field(min_length=2, max_length=2)]
    coverage: Share
    sure_accuracy: Share
    created_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    takes_corrections: Annotated[bool, Field(description="Whether POST /corrections keeps what it is sent.")]
    classes: list[ClassName]
    classes_fingerprint: Annotated[str, Field(description="Of these: what `?classes=` takes.")]
    image: Annotated[list[int], Field(description="Height, width and, of RGB, 3: the shape of an image in /predict.")]


@closed
class PixelRequest(TypedDict):
    """What /predict takes."""

    images: Annotated[list[Image], Field(min_length=1)]


@closed
class Correction(TypedDict):
    """What a person says of an image that the model named otherwise."""

    label: Annotated[Label | ClassName, Field(description="The right class.")]
    said: Annotated[Label | ClassName, Field(description="The class that the model named.")]
    model: Annotated[str, Field(min_length=1, max_length=100, description="The tag that the answer named.")]
    seen: NotRequired[Annotated[str, Field(description="The picture as /classify?seen=true gave it; or image.")]]
    image: NotRequired[Annotated[Image, Field(description="The image as /predict took it; or seen.")]]


@closed
class Corrected(TypedDict):
    """What was understood of a correction."""

    label: Label
    name: ClassName
