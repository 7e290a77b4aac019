"""When this process ends: not after the one that started it."""

import os
import signal
import threading
import time

EVERY = 0.5  # seconds between two looks for the parent
PARENT = os.getppid()  # read on import: a parent that ends while the model is loaded must not go unnoticed


def end_with_parent() -> None:
    """Stop this process, as by SIGTERM, once its parent is gone: it would hold the port with nobody to renew it."""
    threading.Thread(target=_watch_parent, name="parent", daemon=True).start()


def _watch_parent() -> None:
    while os.getppid() == PARENT:
        time.sleep(EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
