"""Strict reading of JSON into dataclasses. An error names the file and the field.

Strict means: UTF-8, no duplicate, missing or unknown fields, no type conversion, no NaN or infinity, and all bounds
that the dataclass declares with `typing.Annotated`.
"""

import json
import reprlib
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import pydantic

from components.errors import FashionError

T = TypeVar("T")
LONGEST_NAME = 100  # characters of a field's name in a message


def read_file(path: Path, error: type[FashionError]) -> bytes:
    """Read a file.

    Args:
        path: the file.
        error: raised if the path is not a regular file or cannot be read.

    Raises:
        FileNotFoundError: the file does not exist.
        error: the path is a folder or a pipe, or the disk fails.
    """
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path}: not a file")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as cause:
        raise error(f"{path}: cannot be read: {cause.strerror}") from cause


def read_record(
    kind: type[T],
    content: bytes | str,
    where: object,
    error: type[FashionError],
    extra: Literal["forbid", "ignore"] = "forbid",
) -> T:
    """Read a dataclass from JSON.

    Args:
        kind: the dataclass, with the types and bounds of its fields.
        content: JSON in UTF-8.
        where: the file, for the error message.
        error: the type of error to raise.
        extra: how to treat unknown fields.

    Raises:
        error: the content does not fit; the message has one line and names the field.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        json.loads(text, parse_float=_to_finite, parse_constant=_refuse_constant, object_pairs_hook=_to_dict)
        adapter: pydantic.TypeAdapter[T] = _adapter_of(cast(Any, kind))
        return adapter.validate_json(text, strict=True, extra=extra)
    except pydantic.ValidationError as cause:
        raise error(f"{where}: {explain(cause)}") from cause
    except (ValueError, RecursionError) as cause:
        raise error(f"{where}: not valid JSON: {cause}") from cause


def explain(error: pydantic.ValidationError) -> str:
    """Describe the first validation error on one line: field, problem, value found."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))[:LONGEST_NAME]
    field = "".join(letter if letter.isprintable() else "?" for letter in name)
    found = "" if first["type"] == "missing" else f", found {reprlib.repr(first['input'])}"
    return f"{field or 'content'}: {first['msg']}{found}"


@cache
def _adapter_of(kind: Any) -> pydantic.TypeAdapter[Any]:
    """Cached, because creating an adapter takes as long as reading a hundred records."""
    return pydantic.TypeAdapter(kind)


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {reprlib.repr(twice)} is given twice")
    return fields


def _to_finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
