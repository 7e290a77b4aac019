"""Safe text for Prefect's UI, which renders Markdown and HTML in artifacts and table cells.

External text is escaped. Files are links to `file://`, whose address can be copied: browsers open none from a page.
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
    """Return a Markdown list of paths on the machine of the run, as links."""
    return "\n".join(f"- {name}: {to_link(path)}" for name, path in paths.items())


def to_link(path: Path) -> str:
    """Return a Markdown link to a file; only its path if that looks like a secret."""
    text, target = escape(str(path)), path.absolute().as_uri()
    return f"[{text}]({target})" if redact(str(path)) == str(path) and redact(target) == target else text


def escape(text: str) -> str:
    """Escape Markdown and HTML, join lines, and redact secrets."""
    line = " ".join(redact(text).split())
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", escape_html(line, quote=False))
