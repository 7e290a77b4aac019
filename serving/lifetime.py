"""End this process when its parent ends."""

import os
import signal
import threading
import time

INTERVAL = 0.5  # seconds between checks
PARENT = os.getppid()  # read on import, to notice a parent that ends while the model loads


def end_with_parent() -> None:
    """Send SIGTERM to this process once its parent is gone; otherwise an orphaned worker would keep the port."""
    threading.Thread(target=_watch_parent, name="parent", daemon=True).start()


def _watch_parent() -> None:
    while os.getppid() == PARENT:
        time.sleep(INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
