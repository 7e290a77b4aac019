"""The Bento: BentoML's server, workers, health, metrics and access log around the endpoints of `serving`."""

import bentoml
import torch
from starlette.exceptions import HTTPException

from components.errors import FashionError
from components.registry.store import bundled_tag
from serving.app import app, served
from serving.errors import RETRY_AFTER


@bentoml.asgi_app(app, path="/")
@bentoml.service(
    name="fashion",
    http={"host": "127.0.0.1", "port": 3000},  # BentoML's own default is every interface
    traffic={"timeout": 600},  # seconds; a large table takes a while, and bodies have limits of their own
    tracing={"excluded_urls": [".*"]},  # no exporter is set, and its middleware alone halves the requests a second
)
class Fashion:
    """Product photos into ten categories."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # an image takes 20 microseconds; more threads only wait for each other
        served.load(bundled_tag())

    def __is_ready__(self) -> bool:
        """/readyz: 200 with a model, else 503 with the reason."""
        try:
            served.get()
        except FashionError as error:
            raise HTTPException(503, str(error), RETRY_AFTER) from error
        return True
