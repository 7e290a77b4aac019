"""Templates -> HTML pages that need no network and no script; whatever is put into them is escaped."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from components.contract import Images

SHARED = Path(__file__).parent  # page.html.j2, which the others extend, and parts.html.j2, which they take from


def render_page(template: Path, **values: Any) -> bytes:
    """Fill in a template; a name that it uses and is not given is an error."""
    loader = FileSystemLoader([template.parent, SHARED])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(template.name).render(**values).encode()


def to_uri(image: Images) -> str:
    """One image, uint8 (height, width[, 3]), as a PNG data URI."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
