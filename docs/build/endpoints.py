"""The reference of the HTTP API, from the OpenAPI document of a service with Fashion-MNIST."""

import json
import re
from pathlib import Path
from typing import Any

from components.catalogues.fashion_mnist import CONTRACT
from serving.openapi import describe_api

LONGEST = 12  # numbers of a list in an example; more are cut


def write_document(path: Path) -> None:
    """Write the OpenAPI document as JSON."""
    path.write_text(json.dumps(describe_api(CONTRACT), indent=2))


def describe_endpoints() -> str:
    """A page with each endpoint's parameters, bodies and responses, and the message types."""
    api = describe_api(CONTRACT)
    lines = ["# HTTP endpoints", "", api["info"]["description"], ""]
    lines += [
        "[Download the OpenAPI document](openapi.json). A running service has its own at `/openapi.json`. Names",
        "and numbers below are those of a service with Fashion-MNIST. [HTTP API](../api.md) explains when to use what.",
    ]
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            lines += ["", f"## {method.upper()} {path}", "", _sentence(operation["summary"])]
            lines += _describe(operation)
    lines += ["", "## Messages"]
    for name, schema in api["components"]["schemas"].items():
        lines += ["", f"### {name}", "", schema.get("description", ""), "", *_fields(schema)]
    return "\n".join(lines) + "\n"


def _describe(operation: dict[str, Any]) -> list[str]:
    lines = ["", _escape(operation["description"])] if operation.get("description") else []
    if parameters := operation.get("parameters"):
        lines += ["", "| query parameter | type | |", "| --- | --- | --- |"]
        lines += [f"| `{one['name']}` | {_kind(one['schema'])} | {_cell(one['description'])} |" for one in parameters]
    if body := operation.get("requestBody"):
        lines += ["", "Request body: " + ", ".join(f"`{kind}`" for kind in body["content"]) + "."]
        lines += _example(body["content"])
    lines += ["", "| status | |", "| ---: | --- |"]
    lines += [f"| {status} | {_cell(one['description'])} |" for status, one in operation["responses"].items()]
    answer = operation["responses"]["200"].get("content", {})
    return [*lines, *(["", "Response:", *_example(answer)] if answer else [])]


def _example(content: dict[str, Any]) -> list[str]:
    for kind, body in content.items():
        if "example" in body:
            text = body["example"]
            language = "json" if kind == "application/json" else "text"
            shown = text if isinstance(text, str) else _write(text)
            return ["", f"```{language}", shown.rstrip(), "```"]
    return []


def _write(value: Any) -> str:
    """JSON with each list of numbers on one line."""
    text = json.dumps(_shorten(value), indent=2)
    return re.sub(r"\[\s+(-?\d[^\]\[{}]*?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)


def _shorten(value: Any) -> Any:
    """An example with its long lists of numbers cut."""
    if isinstance(value, dict):
        return {name: _shorten(one) for name, one in value.items()}
    if isinstance(value, list):
        cut = [_shorten(one) for one in value[:LONGEST]]
        return cut if len(value) <= LONGEST else [*cut, f"... {len(value):,} in all"]
    return value


def _fields(schema: dict[str, Any]) -> list[str]:
    properties = schema.get("properties")
    if not properties:
        return [f"Type: {_kind(schema)}"]
    required = schema.get("required", [])
    lines = ["| field | type | required | |", "| --- | --- | --- | --- |"]
    for name, one in properties.items():
        needed = "yes" if name in required else "no"
        lines.append(f"| `{name}` | {_kind(one)} | {needed} | {_cell(one.get('description', ''))} |")
    return lines


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words: a type, with its range or values."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_kind(one) for one in options)
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        inner = f"list of {_kind(schema.get('items', {}))}"
        return f"{inner}, {_size(schema)}" if _size(schema) else inner
    limits = [f"{schema[key]:,}" if key in schema else "" for key in ("minimum", "maximum")]
    span = f", {limits[0]} to {limits[1]}" if all(limits) else f", at least {limits[0]}" if limits[0] else ""
    return f"{schema.get('type', 'any value')}{span}"


def _size(schema: dict[str, Any]) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and least == most:
        return f"exactly {most:,}"
    return f"at most {most:,}" if most is not None else ""


def _cell(text: str) -> str:
    return _escape(" ".join(text.split())).replace("|", "\\|")


def _escape(text: str) -> str:
    return re.sub(r"([\[*<])", r"\\\1", text)  # plain text: no links, emphasis or HTML


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
