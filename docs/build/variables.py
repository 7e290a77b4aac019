"""The reference of the settings, from the classes that read them: names, defaults, ranges and comments."""

import ast
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any, cast

import pydantic
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from components.monitoring.drift.bounds import DriftBounds
from components.probation.settings import ProbationSettings
from components.promotion.bounds import GateBounds
from components.settings import CHECKOUT, Settings
from flows.cluster import ClusterSettings
from flows.notify.send import NotifySettings
from ops.layout import Ports

CLASSES: dict[str, type[BaseSettings]] = {
    "Data": Settings,
    "Evaluation gate": GateBounds,
    "Drift": DriftBounds,
    "Probation": ProbationSettings,
    "Notifications": NotifySettings,
    "Scoring cluster": ClusterSettings,
    "Ports": Ports,
}
LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def describe_settings() -> str:
    """A page with every environment variable that a settings class reads."""
    lines = ["# Settings", "", "Each setting is an environment variable. An invalid value ends the command with a "]
    lines[-1] += "message that names the variable. Lists and tables are written as JSON."
    for heading, kind in CLASSES.items():
        notes = read_comments(kind)
        intro = inspect.cleandoc(kind.__doc__ or "")
        lines += ["", f"## {heading}", "", intro, "", "| variable | default | |", "| --- | --- | --- |"]
        prefix = str(kind.model_config.get("env_prefix", ""))
        for name, field in kind.model_fields.items():
            text = ". ".join(part for part in (notes.get(name, "").rstrip("."), _limits(field)) if part)
            lines.append(f"| `{(prefix + name).upper()}` | {_default(field)} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def read_comments(kind: type[BaseSettings]) -> dict[str, str]:
    """Field -> its docstring, or the comment at the end of its line."""
    source = textwrap.dedent(inspect.getsource(kind))
    lines, found = source.splitlines(), dict[str, str]()
    name = ""
    for node in cast(ast.ClassDef, ast.parse(source).body[0]).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            comment = lines[(node.end_lineno or node.lineno) - 1].encode()[node.end_col_offset :].decode()
            found[name] = comment.strip().lstrip("# ")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            found[name] = " ".join(str(node.value.value).split())
        else:
            name = ""
    return {name: _sentence(re.sub(r"\b(None|empty)\b", "unset", text)) for name, text in found.items() if text}


def _sentence(text: str) -> str:
    """With a capital first letter, unless the first word is a name."""
    return text[0].upper() + text[1:] if re.match(r"[a-z]+\s", text) else text


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, pydantic.SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path):
        return f"`{value.relative_to(CHECKOUT)}/` in the checkout"
    return "none" if value in (None, "", ()) else f"`{value:_}`" if type(value) is int else f"`{value}`"


def _limits(field: FieldInfo) -> str:
    """Its range in words, such as "at least 0, at most 1"."""
    found = [
        f"{words} {getattr(limit, key):,}"
        for limit in field.metadata
        for key, words in LIMITS.items()
        if hasattr(limit, key)
    ]
    return ", ".join(found).capitalize()
