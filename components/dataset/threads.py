"""Work on many pictures at a time. Pillow, OpenCV and hashing release the GIL, so threads use every core."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # how many are done, of how many


def map_threads(work: Callable[[T], R], items: Sequence[T], progress: Progress = lambda done, total: None) -> list[R]:
    """Apply `work` to each item, and return the results in order.

    Args:
        work: called in several threads at a time; the first error that it raises ends the rest.
        items: what it is called with.
        progress: called after each result, in this thread.
    """
    done = list[R]()
    with ThreadPoolExecutor() as pool:
        try:
            for one in pool.map(work, items):
                done.append(one)
                progress(len(done), len(items))
        except BaseException:  # including Ctrl-C: do not wait for queued work
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done
