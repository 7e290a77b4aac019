"""The BentoML service: server, workers, health checks, metrics and access log around the endpoints of `serving`.

BentoML's supervisor also imports this module to start the workers, so modules that pull in NumPy or Arrow are
imported only in the workers.
"""

import gc
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import bentoml
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from components.errors import FashionError
from components.footprint import NoPandas
from serving.bentoml_patches import patch_bentoml
from serving.connections import guard_connections
from serving.errors import RETRY_AFTER
from serving.gateway import Endpoint, Gateway
from serving.lifetime import end_with_parent
from serving.settings import check_settings, read_workers

if TYPE_CHECKING:
    from serving.metrics import Watch


def _endpoints() -> Mapping[str, tuple[str, Endpoint]]:
    from serving.endpoints import ENDPOINTS

    return ENDPOINTS


def _find_watch() -> "Watch":
    from serving.metrics import watch

    return watch


def _build_gateway(app: ASGIApp) -> Gateway:
    return Gateway(app, _endpoints())


USUAL_COLLECTIONS = gc.get_threshold()
gc.set_threshold(50_000)  # imports make a million objects and no garbage; collections cost an eighth of their time
for threads in ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):  # of NumPy, on Linux and macOS
    os.environ.setdefault(threads, "1")  # an image takes 20 us, so that more threads would only contend
check_settings()  # invalid settings stop the supervisor once, with a message, instead of every worker
patch_bentoml(_endpoints, _find_watch)
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
        from components.monitoring.prediction_log import log_folder
        from components.monitoring.serving_record import serving_folder
        from components.registry.store import bundled_tag, home, use_own_models
        from components.shadow.mirror import mirror
        from serving.live import served
        from serving.metrics import watch
        from serving.recorder import try_to_record
        from serving.review import keep_for_review

        end_with_parent()
        NoPandas.take_effect()
        logging.getLogger("uvicorn.access").propagate = False  # else uvicorn formats log lines that no one reads
        watch.start(log_folder(home()))
        keep_for_review(watch)
        tag = bundled_tag()
        if tag is None or os.environ.get("FASHION_FOLLOW") == "true":
            use_own_models()
            try_to_record(watch, serving_folder(home()), lambda: served.serving.model.tag if served.serving else None)
        else:
            served.pin(tag)
        served.watch()
        if served.following:
            watch.add_tap(mirror.add)
            watch.add_job(mirror.tick)
            mirror.start()
        gc.collect()
        gc.freeze()  # else each collection rescans these objects and delays requests
        gc.set_threshold(*USUAL_COLLECTIONS)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Flush the prediction log, and end the shadow."""
        from components.shadow.mirror import mirror

        _find_watch().close()
        mirror.close()

    def __is_ready__(self) -> bool:
        """GET /readyz: 200 if a model is loaded, otherwise 503 with the reason."""
        from serving.live import served

        try:
            served.get()
        except FashionError as error:
            raise HTTPException(503, str(error), RETRY_AFTER) from error
        return True


Fashion.add_asgi_middleware(_build_gateway)  # type: ignore[attr-defined]
