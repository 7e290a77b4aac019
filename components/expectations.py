"""Opens Great Expectations in memory, with telemetry disabled. Imported lazily, because the import takes 4 seconds."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from great_expectations.data_context import EphemeralDataContext


def open_context(docs: Path | None = None) -> "EphemeralDataContext":
    """Create an in-memory context.

    Args:
        docs: the folder that `build_docs` writes to; None disables Data Docs.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    site: dict[str, Any] = {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        data_docs_sites={"docs": site} if docs else {},
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def build_docs(context: "EphemeralDataContext") -> None:
    """Write the Data Docs. Raises page errors, which Great Expectations would only log."""
    with _raising_page_errors():
        context.build_data_docs()


@contextlib.contextmanager
def _raising_page_errors() -> Iterator[None]:
    def fail(record: logging.LogRecord) -> bool:
        if error := sys.exception():
            raise error
        return True

    log = logging.getLogger("great_expectations.render.renderer.site_builder")
    log.addFilter(fail)
    try:
        yield
    finally:
        log.removeFilter(fail)
