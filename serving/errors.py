"""Any error -> `{"error": {"status", "field", "reason"}}`."""

from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from components.errors import FashionError, InputError, InputTooLarge, ModelError

RETRY_AFTER = {"Retry-After": "1"}  # seconds


class Refusal(HTTPException):
    """A request refused for what `field` of it says."""

    def __init__(self, status: int, field: str, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, reason, headers)
        self.field = field
        self.details: dict[str, Any] = {}  # what a program may want to know beside


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON, NumPy arrays and numbers included."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


def is_expected(error: Exception) -> bool:
    """Whether an error says what is wrong with a request or the service; another is a fault in the code."""
    return isinstance(error, (FashionError, HTTPException, TimeoutError, ClientDisconnect))


def refuse(error: Exception) -> Response:
    """The answer to a request that cannot be answered; an error nobody expected tells the caller nothing of itself."""
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
            status, field, reason = 408, "body", "did not arrive in time"
        case ClientDisconnect():
            status, field, reason = 400, "body", "the client left before it was whole"
        case _:
            status, field, reason = 500, "service", "an unexpected error; the service's log has it"
    return json_response({"error": {"status": status, "field": field, "reason": reason, **details}}, status, headers)
