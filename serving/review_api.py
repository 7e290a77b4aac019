"""What the OpenAPI document says of the review queue: its operations and an example of each message."""

from collections.abc import Callable
from typing import Any

from components.contract import DataContract

MESSAGES = ("ReviewNext", "ReviewLabel", "ReviewId", "ReviewTurn", "ReviewStatus")
REVIEWER = "k3v9x2m7q4"
ID = "uncertain-1764547200123-5f0c1d2e3a4b5c6d-0931-9ab31f02.json"

Operation = Callable[..., dict[str, Any]]


def review_paths(
    operation: Operation, content: Callable[[str], dict[str, Any]], with_body: tuple[int, ...]
) -> dict[str, Any]:
    """The operations, made with those of `describe_api`."""

    def post(name: str, summary: str, description: str, body: str, *statuses: int) -> dict[str, Any]:
        request = {"required": True, "content": content(body)}
        made = operation(
            name, summary, description, content("ReviewTurn"), (*with_body, *statuses), requestBody=request
        )
        return {"post": made}

    lease = "It is shown to no one else for five minutes."
    status = "How many images wait, and the accuracy on live traffic with its 95 % interval, as a whole and by day."
    return {
        "/review/next": post("reviewNext", "Next image to label", f"Take an image. {lease}", "ReviewNext"),
        "/review/label": post(
            "reviewLabel",
            "Label an image",
            "Save the label as a correction, to be imported later, and take the next image.",
            "ReviewLabel",
            410,
            507,
        ),
        "/review/skip": post("reviewSkip", "Skip an image", "Take the next image instead.", "ReviewId", 410),
        "/review/undo": post(
            "reviewUndo",
            "Undo a decision",
            "Withdraw one of the last 50 labels or skips, and take its image again. A label that was imported stays.",
            "ReviewId",
            410,
        ),
        "/review/status": {
            "get": operation(
                "reviewStatus", "State of the review queue", status, content("ReviewStatus"), (401, 403, 503)
            )
        },
    }


def review_examples(contract: DataContract, tag: str) -> dict[str, Any]:
    """An example of each message."""
    first, last = contract.classes[0], contract.classes[-1]
    top = [{"label": 0, "name": first, "probability": 0.52}]
    top.append({"label": len(contract.classes) - 1, "name": last, "probability": 0.41})
    accuracy = {"labelled": 240, "skipped": 3, "accuracy": 0.9125, "interval": [0.8699, 0.9421]}
    return {
        "ReviewNext": {"reviewer": REVIEWER},
        "ReviewLabel": {"reviewer": REVIEWER, "id": ID, "label": last},
        "ReviewId": {"reviewer": REVIEWER, "id": ID},
        "ReviewTurn": {
            "image": {
                "id": ID,
                "seen": "data:image/png;base64,",
                "model": tag,
                "time": 1764547200.123,
                "sure": False,
                "known": True,
                "top": top,
            }
        },
        "ReviewStatus": {
            "classes": list(contract.classes),
            "waiting": {"random": 310, "uncertain": 642},
            "labelled": 720,
            "skipped": 9,
            "live_accuracy": accuracy,
            "days": [{"day": "2026-11-21", **accuracy}],
        },
    }
