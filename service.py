"""The Bento: BentoML's server, workers, health, metrics and access log around the endpoints of `serving`.

BentoML's supervisor imports this module too, to start the workers. What brings PyTorch is imported in the workers only.
"""

import gc
import logging
import os
import sys
from collections.abc import Mapping

import bentoml
import pyarrow
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from components.errors import FashionError
from components.monitoring.prediction_log import log_folder
from components.registry.store import bundled_tag, home, use_own_models
from serving.bentoml_patches import patch_bentoml
from serving.connections import guard_connections
from serving.errors import RETRY_AFTER
from serving.gateway import Endpoint, Gateway
from serving.guard import Guard
from serving.lifetime import end_with_parent
from serving.metrics import watch


def _endpoints() -> Mapping[str, tuple[str, Endpoint]]:
    from serving.endpoints import ENDPOINTS

    return ENDPOINTS


def _open_door(app: ASGIApp) -> Gateway:
    return Gateway(app, _endpoints())


Guard()  # what cannot be used of its settings ends the supervisor with a message, rather than worker after worker
patch_bentoml(_endpoints, watch)
guard_connections()


@bentoml.service(
    name="fashion",
    http={"host": "127.0.0.1", "port": 3000},  # BentoML's own default is every interface
    logging={"access": {"enabled": False}},  # written by bentoml_patches
)
class Fashion:
    """Product photos into categories."""

    def __init__(self) -> None:
        import torch

        from serving.live import served

        end_with_parent()
        _NoPandas.take_effect()
        torch.set_num_threads(1)  # an image takes 20 microseconds; more threads only wait for each other
        logging.getLogger("uvicorn.access").propagate = False  # or uvicorn prepares lines of its own, for nobody
        watch.start(log_folder(home()))
        tag = bundled_tag()
        if tag is None or os.environ.get("FASHION_FOLLOW") == "true":
            use_own_models()
        else:
            served.keep(tag)
        served.watch()
        gc.collect()
        gc.freeze()  # looking through what is there now, again and again, would hold requests up

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Write the last lines of the prediction log."""
        watch.close()

    def __is_ready__(self) -> bool:
        """/readyz: 200 with a model, else 503 with the reason."""
        from serving.live import served

        try:
            served.get()
        except FashionError as error:
            raise HTTPException(503, str(error), RETRY_AFTER) from error
        return True


Fashion.add_asgi_middleware(_open_door)  # type: ignore[attr-defined]


class _NoPandas:
    """Lets Arrow find no pandas, for which it looks with its first array, once; nothing here needs its 60 MB."""

    @staticmethod
    def find_spec(name: str, path: object, target: object = None) -> None:
        """Pass on the question for any other module."""
        if name == "pandas":
            raise ModuleNotFoundError(name)

    @classmethod
    def take_effect(cls) -> None:
        """Let Arrow look."""
        sys.meta_path.insert(0, cls)
        pyarrow.array([0])
        sys.meta_path.remove(cls)
