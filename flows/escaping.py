"""Safe text for Prefect's UI, which renders Markdown and HTML in artifacts and table cells.

External text is escaped. Files are shown as paths, because the UI cannot open them.
"""

import re
from html import escape as escape_html
from pathlib import Path

from flows.notify.redact import redact


def to_table(rows: dict[str, str]) -> str:
    """Return a two-column Markdown table, escaped."""
    lines = [f"| {escape(name)} | {escape(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def to_paths(paths: dict[str, Path]) -> str:
    """Return a Markdown list of paths on the machine of the run."""
    return "\n".join(f"- {name}: {escape(str(path))}" for name, path in paths.items())


def escape(text: str) -> str:
    """Escape Markdown and HTML, join lines, and redact secrets."""
    line = " ".join(redact(text).split())
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", escape_html(line, quote=False))
