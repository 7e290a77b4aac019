"""Texts for Prefect's page, which renders Markdown and HTML in texts and in the cells of tables, and opens no file.

Whatever came from outside is escaped, and where a page is on disk is said as a path.
"""

import re
from html import escape as escape_html
from pathlib import Path

from flows.notify.redact import redact


def to_table(rows: dict[str, str]) -> str:
    """Markdown of two columns, escaped."""
    lines = [f"| {escape(name)} | {escape(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def to_paths(paths: dict[str, Path]) -> str:
    """Where pages are, on the machine that the run was on."""
    return "\n".join(f"- {name}: {escape(str(path))}" for name, path in paths.items())


def escape(text: str) -> str:
    """Text as Markdown and HTML show it as it is, on one line, without secrets."""
    line = " ".join(redact(text).split())
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", escape_html(line, quote=False))
