"""Renders templates to self-contained HTML pages without scripts. All values are escaped."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from components.contract import Images

SHARED = Path(__file__).parent  # page.html.j2, the base template, and parts.html.j2, shared macros


def render_page(template: Path, **values: Any) -> bytes:
    """Render a template. An undefined name is an error."""
    loader = FileSystemLoader([template.parent, SHARED])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(template.name).render(**values).encode()


def to_uri(image: Images) -> str:
    """Encode one image as a PNG data URI."""
    content = io.BytesIO()
    Image.fromarray(image["picture"] if image.dtype.names else image).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
