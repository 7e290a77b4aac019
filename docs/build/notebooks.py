"""A notebook as a page: its text, its code, and a link to download it."""

import json
from pathlib import Path


def render_notebook(path: Path) -> str:
    """Markdown of a notebook; outputs are left out, as the notebooks are committed without them."""
    cells = json.loads(path.read_text())["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"]).strip()
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    note = f"[Download this notebook]({path.name}){{: download }}"
    first, *others = parts
    return "\n\n".join([first, note, *others]) + "\n"
