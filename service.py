"""The BentoML service: server, workers, health checks, metrics and access log around the endpoints of `serving`.

BentoML's supervisor also imports this module to start the workers, so modules that pull in PyTorch are imported only in
the workers.
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
from serving.lifetime import end_with_parent
from serving.metrics import watch
from serving.settings import check_settings, read_workers


def _endpoints() -> Mapping[str, tuple[str, Endpoint]]:
    from serving.endpoints import ENDPOINTS

    return ENDPOINTS


def _build_gateway(app: ASGIApp) -> Gateway:
    return Gateway(app, _endpoints())


check_settings()  # invalid settings stop the supervisor once, with a message, instead of every worker
patch_bentoml(_endpoints, watch)
guard_connections()


@bentoml.service(
    name="fashion",
    http={"host": "127.0.0.1", "port": 3000},  # BentoML listens on all interfaces by default
    workers=read_workers(),
    logging={"access": {"enabled": False}},  # bentoml_patches writes the access log
)
class Fashion:
    """Classify product photos into categories."""

    def __init__(self) -> None:
        import torch

        from serving.live import served

        end_with_parent()
        _NoPandas.take_effect()
        torch.set_num_threads(1)  # an image takes 20 us; more threads only contend with each other
        logging.getLogger("uvicorn.access").propagate = False  # else uvicorn formats log lines that no one reads
        watch.start(log_folder(home()))
        tag = bundled_tag()
        if tag is None or os.environ.get("FASHION_FOLLOW") == "true":
            use_own_models()
        else:
            served.pin(tag)
        served.watch()
        gc.collect()
        gc.freeze()  # else each collection rescans these objects and delays requests

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Flush the prediction log."""
        watch.close()

    def __is_ready__(self) -> bool:
        """GET /readyz: 200 if a model is loaded, otherwise 503 with the reason."""
        from serving.live import served

        try:
            served.get()
        except FashionError as error:
            raise HTTPException(503, str(error), RETRY_AFTER) from error
        return True


Fashion.add_asgi_middleware(_build_gateway)  # type: ignore[attr-defined]


class _NoPandas:
    """Import hook that hides pandas from Arrow's one-time lookup, which saves 60 MB."""

    @staticmethod
    def find_spec(name: str, path: object, target: object = None) -> None:
        """Raise for pandas; defer to the other finders for any other module."""
        if name == "pandas":
            raise ModuleNotFoundError(name)

    @classmethod
    def take_effect(cls) -> None:
        """Trigger Arrow's lookup while pandas is hidden."""
        sys.meta_path.insert(0, cls)
        pyarrow.array([0])
        sys.meta_path.remove(cls)
