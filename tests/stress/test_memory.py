"""Many requests of every kind leave the service's memory unchanged."""

import contextlib
import http.client
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from servers import Server

from components.dataset.manifest import Examples
from components.readers.images.photos import write_png

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]
REQUESTS = 25_000  # sent twice: the first round fills the caches and the allocator's arenas
CONNECTIONS = 4
ALLOWED = 8 << 20  # bytes; a leak of 1 KB per request would be 25 MB
FRESH = 50  # requests per connection


Request = tuple[str, str, bytes, str, int]  # method, path, body, content type, expected status


@pytest.fixture(scope="module")
def kinds(test_split: Examples) -> list[Request]:
    image = test_split.images[0]
    numbers = f'{{"images": [{image.tolist()}]}}'.encode()
    return [
        ("POST", "/predict?top=3", numbers, "application/json", 200),
        ("POST", "/predict", image.tobytes(), "application/octet-stream", 200),
        ("POST", "/classify", write_png(image), "image/png", 200),
        ("POST", "/predict", numbers.replace(b"0", b"256", 1), "application/json", 400),
        ("POST", "/classify", write_png(image)[:60], "image/png", 400),
        ("POST", "/predict", b"", "text/plain", 415),
        ("GET", "/nothing/%d", b"", "", 404),
        ("GET", "/model", b"", "", 200),
    ]


def send(server: Server, kinds: list[Request], first: int, count: int) -> Counter[tuple[int, int]]:
    """Send `count` requests, each kind in turn. Returns the counts by expected and actual status."""
    seen: Counter[tuple[int, int]] = Counter()
    for start in range(first, first + count, FRESH):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as client:
            for number in range(start, min(start + FRESH, first + count)):
                method, path, body, kind, expected = kinds[number % len(kinds)]
                client.request(method, path.replace("%d", str(number)), body, {"Content-Type": kind})
                answer = client.getresponse()
                answer.read()
                seen[expected, answer.status] += 1
    return seen


def test_fifty_thousand_requests_leak_no_memory(server: Server, kinds: list[Request]) -> None:
    (worker,) = psutil.Process(server.process.pid).children(recursive=True)
    share = REQUESTS // CONNECTIONS
    kept = []
    for half in range(2):
        starts = [half * REQUESTS + place * share for place in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            done = [threads.submit(send, server, kinds, start, share) for start in starts]
        seen = sum((one.result() for one in done), Counter[tuple[int, int]]())
        assert seen.total() == REQUESTS
        assert all(expected == answered for expected, answered in seen), seen
        kept.append(worker.memory_info().rss)
    print(f"{kept[0] / 1e6:.1f} MB after {REQUESTS:,} requests, {kept[1] / 1e6:.1f} MB after as many again")
    assert kept[1] - kept[0] < ALLOWED
