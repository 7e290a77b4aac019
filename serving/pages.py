"""The web pages and their files: `/` and `/review` from ui/, and `/docs`, Swagger UI as BentoML's package ships it."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from components.paths import RESOURCES

UI_FOLDER = RESOURCES / "ui"
# path -> file and media type
OWN_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/review": ("review.html", "text/html"),
    "/review.css": ("review.css", "text/css"),
    "/review.js": ("review.js", "text/javascript"),
    "/docs": ("docs.html", "text/html"),
    "/docs.css": ("docs.css", "text/css"),
    "/docs.js": ("docs.js", "text/javascript"),
}
SWAGGER_FILES = {
    "/swagger-ui.css": ("swagger-ui.css", "text/css"),
    "/swagger-ui-bundle.js": ("swagger-ui-bundle.js", "text/javascript"),
}
PATHS = (*OWN_FILES, *SWAGGER_FILES)


async def page(request: Request) -> Response:
    """GET / and the other files of the pages."""
    path = request.url.path
    if path in OWN_FILES:
        name, kind = OWN_FILES[path]
        return Response((UI_FOLDER / name).read_bytes(), media_type=kind)
    name, kind = SWAGGER_FILES[path]
    try:
        return Response((swagger_folder() / name).read_bytes(), media_type=kind)
    except FileNotFoundError as error:
        raise HTTPException(404) from error  # another version of BentoML; /openapi.json still works


@lru_cache(maxsize=1)
def swagger_folder() -> Path:
    """Folder with Swagger UI in the installed BentoML, found without importing it."""
    found = find_spec("bentoml")
    return Path(found.origin if found and found.origin else "").parent / "_internal" / "server" / "static_content"
