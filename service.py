"""The Bento: BentoML's server, workers, health, metrics and access log around the endpoints of `serving`."""

import gc
import logging
import os
from pathlib import Path

import bentoml
import torch
from starlette.exceptions import HTTPException

from components.errors import FashionError
from components.registry.store import bundled_tag, home
from serving.app import ROUTES, app, served
from serving.bentoml_patches import patch_bentoml
from serving.connections import guard_connections
from serving.errors import RETRY_AFTER
from serving.lifetime import end_with_parent
from serving.metrics import watch

patch_bentoml({route.path for route in ROUTES})
guard_connections()


@bentoml.asgi_app(app, path="/")
@bentoml.service(
    name="fashion",
    http={"host": "127.0.0.1", "port": 3000},  # BentoML's own default is every interface
    logging={"access": {"request_content_type": False}},  # BentoML decodes it as UTF-8, and fails where it is not
    tracing={"excluded_urls": [".*"]},  # no exporter is set, and its middleware alone halves the requests a second
)
class Fashion:
    """Product photos into ten categories."""

    def __init__(self) -> None:
        end_with_parent()
        logging.getLogger("bentoml.access").addFilter(_keep_to_one_line)
        torch.set_num_threads(1)  # an image takes 20 microseconds; more threads only wait for each other
        watch.start(_log_folder())
        tag = bundled_tag()
        if tag is None or os.environ.get("FASHION_FOLLOW") == "true":
            served.follow()
        else:
            served.keep(tag)
        gc.collect()
        gc.freeze()  # looking through what is there now, again and again, would hold requests up

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Write the last lines of the prediction log."""
        watch.close()

    def __is_ready__(self) -> bool:
        """/readyz: 200 with a model, else 503 with the reason."""
        try:
            served.get()
        except FashionError as error:
            raise HTTPException(503, str(error), RETRY_AFTER) from error
        return True


def _log_folder() -> Path | None:
    """`FASHION_PREDICTION_LOG`: a folder, or "off"; without it, one in BENTOML_HOME."""
    chosen = os.environ.get("FASHION_PREDICTION_LOG") or str(home() / "predictions")
    return None if chosen == "off" else Path(chosen)


def _keep_to_one_line(record: logging.LogRecord) -> bool:
    """A path with a line break in it must not look like a second line of the access log."""
    if isinstance(record.args, tuple):
        record.args = tuple(repr(value)[1:-1] if isinstance(value, str) else value for value in record.args)
    return True
