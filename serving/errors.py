"""Error responses: every error becomes `{"error": {"status", "field", "reason"}}`."""

from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from components.errors import FashionError, InputError, InputTooLarge, ModelError

RETRY = "retry later"
RETRY_AFTER = {"Retry-After": "1"}  # seconds


class Refusal(HTTPException):
    """A refused request; `field` names the part of it that is at fault."""

    def __init__(self, status: int, field: str, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, reason, headers)
        self.field = field
        self.details: dict[str, Any] = {}  # additional machine-readable fields


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response; supports NumPy arrays and scalars."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


def is_expected(error: Exception) -> bool:
    """Whether an error describes a problem with a request or the service, rather than a bug."""
    return isinstance(error, (FashionError, HTTPException, TimeoutError, ClientDisconnect))


def refuse(error: Exception) -> Response:
    """Build the error response. An unexpected error reveals no details to the caller."""
    headers: dict[str, str] = {}
    details = error.details if isinstance(error, Refusal) else {}
    match error:
        case InputTooLarge():
            status, field, reason = 413, error.field, error.reason
        case InputError():
            status, field, reason = 400, error.field, error.reason
        case ModelError():
            status, field, reason, headers = 503, "model", str(error), RETRY_AFTER
        case Refusal():
            status, field, reason, headers = error.status_code, error.field, error.detail, dict(error.headers or {})
        case HTTPException():
            status, field, reason, headers = error.status_code, "request", error.detail, dict(error.headers or {})
        case TimeoutError():
            status, field, reason = 408, "body", "not received in time"
        case ClientDisconnect():
            status, field, reason = 400, "body", "the client disconnected before sending all of it"
        case _:
            status, field, reason = 500, "service", "internal error; see the service log"
    return json_response({"error": {"status": status, "field": field, "reason": reason, **details}}, status, headers)
