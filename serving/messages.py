"""Types of the JSON requests and responses. `openapi.py` derives the OpenAPI document from them.

Everything that depends on the live model's classes or image shape is a named type, which `openapi.py` fills in from the
model's contract.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from components.contract import Share
from components.scoring.answers import Answer, ClassName, Label, LikelyClass, closed

Pixel = Annotated[int, Field(ge=0, le=255)]
Image = TypeAliasType("Image", list[Pixel] | list[list[Pixel]] | list[list[list[Pixel]]])
NoneOfThese = Literal["none of these"]
Kind = Literal["blank", "inverted", "scale", "dim"]


@closed
class Reason(TypedDict):
    """Why a request was refused."""

    status: Annotated[int, Field(examples=[400])]
    field: Annotated[str, Field(examples=["images[3][12]"])]
    reason: Annotated[str, Field(examples=["found 300, expected a whole number from 0 to 255"])]
    expected: NotRequired[
        Annotated[
            list[str] | None,
            Field(description="Only with 409: the classes that the caller expects, or null if unknown."),
        ]
    ]
    found: NotRequired[Annotated[list[str], Field(description="Only with 409: the classes of the live model.")]]


@closed
class Error(TypedDict):
    """Error response."""

    error: Reason


@closed
class Near(TypedDict):
    """An image near another in the model's last hidden layer."""

    id: Annotated[str, Field(description="Its id in the dataset, or in the indexed catalogue.")]
    row: Annotated[int, Field(ge=0, description="Its row in the training split, or in the catalogue, from 0.")]
    name: Annotated[ClassName, Field(description="Its label; in a catalogue, its predicted class.")]
    distance: Annotated[float, Field(ge=0, description="Euclidean distance between the last hidden layers.")]
    image: Annotated[str, Field(description="PNG data URL, of the model's input size.")]


@closed
class Prediction(Answer):
    """The prediction for one image."""

    file: NotRequired[Annotated[str, Field(description="Name of the uploaded file. Only from /classify.")]]
    seen: NotRequired[
        Annotated[str, Field(description="The model's input image as a PNG data URL. Only with `?seen=true`.")]
    ]
    because: NotRequired[
        Annotated[list[Near], Field(description="The nearest training images, nearest first. Only with `?because=`.")]
    ]


@closed
class InputWarning(TypedDict):
    """A warning that some images of a request look unusual."""

    kind: Kind
    images: Annotated[
        list[Annotated[int, Field(ge=0)]],
        Field(description="Indices of the affected predictions, starting at 0."),
    ]
    reason: Annotated[str, Field(description="What was found and what to do about it.")]


@closed
class Predictions(TypedDict):
    """Response of /predict and /classify."""

    model: Annotated[str, Field(description="Exact tag of the model that made the predictions.")]
    predictions: list[Prediction]
    warnings: Annotated[
        list[InputWarning],
        Field(description="Warnings about unusual images; empty if there are none."),
    ]


@closed
class IndexedCatalogue(TypedDict):
    """The catalogue in which similar items are found."""

    source: Annotated[str, Field(description="The input that was indexed.")]
    items: Annotated[int, Field(ge=1)]
    built_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]


@closed
class SimilarItems(TypedDict):
    """The items of the catalogue that are most like one picture."""

    file: Annotated[str, Field(description="Name of the uploaded file.")]
    similar: Annotated[list[Near], Field(description="Most similar first.")]


@closed
class Similar(TypedDict):
    """Response of /similar."""

    model: Annotated[str, Field(description="Exact tag of the model.")]
    catalogue: IndexedCatalogue
    results: list[SimilarItems]


@closed
class Model(TypedDict):
    """The live model."""

    model: str
    live_since: Annotated[
        str | None,
        Field(
            description="Time of its promotion, or null if it is bundled with the Bento.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    follows_pointer: Annotated[bool, Field(description="Whether the service switches to newly promoted models.")]
    problem: Annotated[str | None, Field(description="Why the newest live model is not served, or null.")]
    preset: str
    source: str
    dataset_version: str
    test_accuracy: Share
    test_accuracy_interval: Annotated[list[Share], Field(min_length=2, max_length=2)]
    coverage: Annotated[Share, Field(description="Share of test images above the confidence threshold.")]
    sure_accuracy: Annotated[Share, Field(description="Accuracy on the test images above the threshold.")]
    unknown_rate: Annotated[
        Share | None,
        Field(
            description="Share of images like the validation images that may count as unknown. Null if the model "
            "cannot tell."
        ),
    ]
    test_unknown_rate: Annotated[
        Share | None, Field(description="Share of test images that count as unknown. Null like `unknown_rate`.")
    ]
    created_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    takes_corrections: Annotated[bool, Field(description="Whether POST /corrections is enabled.")]
    gives_reasons: Annotated[bool, Field(description="Whether the training images for `?because=` are available.")]
    takes_drawings: Annotated[bool, Field(description="Whether drawings on black work: not if it expects photos.")]
    classes: list[ClassName]
    classes_fingerprint: Annotated[str, Field(description="Hash of the class names, for `?classes=`.")]
    image: Annotated[
        list[int], Field(description="Shape of an image in /predict: height, width and, for RGB images, 3.")
    ]


@closed
class Example(TypedDict):
    """An image to try the live model with."""

    name: Annotated[str, Field(description="Its true class.")]
    image: Annotated[str, Field(description="PNG data URL, of the model's input size.")]


@closed
class Examples(TypedDict):
    """Example images for the live model."""

    examples: Annotated[list[Example], Field(description="Empty for a catalogue of your own.")]


@closed
class PixelRequest(TypedDict):
    """Request body of /predict."""

    images: Annotated[list[Image], Field(min_length=1)]


@closed
class Correction(TypedDict):
    """A person's label for a misclassified image."""

    label: Annotated[
        Label | ClassName | NoneOfThese, Field(description="The correct class, or that it is none of the classes.")
    ]
    said: Annotated[Label | ClassName, Field(description="The predicted class.")]
    model: Annotated[str, Field(min_length=1, max_length=100, description="Tag of the model that predicted it.")]
    seen: NotRequired[
        Annotated[str, Field(description="The input image returned by /classify?seen=true. Alternative to `image`.")]
    ]
    image: NotRequired[Annotated[Image, Field(description="The image as sent to /predict. Alternative to `seen`.")]]


@closed
class Corrected(TypedDict):
    """The accepted correction."""

    label: Annotated[Label | None, Field(description="Null for none of the classes.")]
    name: ClassName | NoneOfThese


Reviewer = Annotated[
    str, Field(pattern="^[A-Za-z0-9]{8,40}$", description="Who labels: any random letters and digits.")
]
ImageId = Annotated[str, Field(description="The `id` of an image from /review/next.")]


@closed
class ReviewNext(TypedDict):
    """Request body of /review/next."""

    reviewer: Reviewer


@closed
class ReviewLabel(TypedDict):
    """Request body of /review/label."""

    reviewer: Reviewer
    id: ImageId
    label: Annotated[
        Label | ClassName | NoneOfThese, Field(description="Its class, or that it is none of the classes.")
    ]


@closed
class ReviewId(TypedDict):
    """Request body of /review/skip and /review/undo."""

    reviewer: Reviewer
    id: ImageId


@closed
class ReviewItem(TypedDict):
    """An image to label."""

    id: Annotated[str, Field(description="For /review/label, /review/skip and /review/undo.")]
    seen: Annotated[str, Field(description="What the model saw, as a PNG data URL.")]
    model: Annotated[str, Field(description="Exact tag of the model that answered.")]
    time: Annotated[float, Field(description="Time of the answer, seconds since 1970.")]
    sure: bool
    known: bool | None
    top: Annotated[list[LikelyClass], Field(description="The most likely classes, most likely first.")]


@closed
class ReviewTurn(TypedDict):
    """The image that this person labels next."""

    image: Annotated[ReviewItem | None, Field(description="Null if no image waits.")]


@closed
class Waiting(TypedDict):
    """Number of images that wait for a label."""

    random: Annotated[int, Field(ge=0, description="Images drawn at random from the traffic.")]
    uncertain: Annotated[int, Field(ge=0, description="Images that the model was not sure of, or did not know.")]


@closed
class LiveAccuracy(TypedDict):
    """Accuracy on live traffic, estimated from the random images that people labelled."""

    labelled: Annotated[int, Field(ge=0, description="Random images that it is estimated from.")]
    skipped: Annotated[int, Field(ge=0, description="Random images that people skipped.")]
    accuracy: Annotated[Share | None, Field(description="Null without labels.")]
    interval: Annotated[list[Share], Field(min_length=2, max_length=2, description="95 % interval.")]


@closed
class DayAccuracy(LiveAccuracy):
    """The accuracy on the traffic of one day."""

    day: Annotated[str, Field(description="UTC date.", json_schema_extra={"format": "date"})]


@closed
class ReviewStatus(TypedDict):
    """State of the review queue."""

    classes: list[ClassName]
    waiting: Waiting
    labelled: Annotated[int, Field(ge=0, description="Images of both kinds that people labelled.")]
    skipped: Annotated[int, Field(ge=0)]
    live_accuracy: LiveAccuracy
    days: Annotated[list[DayAccuracy], Field(description="The last 30 days with labels, oldest first.")]
