"""Send requests at a steady rate and print their latencies as JSON: `python -m benchmarks.peers.steady < REQUEST`.

The input is JSON: port, connections, rate, seconds, and the HTTP request in base 64. Requests are sent when
they are due, whether or not earlier ones were answered, and latency counts from then: a server that stalls delays all
requests of that time, not only those that it had received.
"""

import asyncio
import base64
import collections
import json
import sys
import time
from typing import Any

import numpy as np
import uvloop


class Connection(asyncio.Protocol):
    """A connection on which requests are sent one after another, each after the answer to the one before."""

    def __init__(self, request: bytes, seconds: list[float]) -> None:
        self.request, self.seconds, self.errors = request, seconds, 0
        self.due, self.sent, self.received = collections.deque[float](), 0.0, b""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def ask(self, due: float) -> None:
        """Send a request now, or after the one before."""
        self.due.append(due)
        if len(self.due) == 1:
            self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Note the latency of a complete response."""
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r")[0]):
            return
        self.errors += not self.received.startswith(b"HTTP/1.1 200")
        self.received = b""
        self.seconds.append(time.perf_counter() - self.due.popleft())
        if self.due:
            self.transport.write(self.request)


async def main() -> None:
    """Send the requests."""
    asked = json.load(sys.stdin)
    request, seconds = base64.b64decode(asked["request"]), list[float]()
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(request, seconds), "127.0.0.1", asked["port"]))[1]
        for _ in range(asked["connections"])
    ]
    count = int(asked["rate"] * asked["seconds"])
    began = time.perf_counter()
    for number in range(count):
        due = began + number / asked["rate"]
        while (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left if left > 0.001 else 0)
        connections[number % len(connections)].ask(due)
        await asyncio.sleep(0)
    deadline = time.perf_counter() + 5
    while len(seconds) < count and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    milliseconds = 1e3 * np.array(seconds)
    print(
        json.dumps(
            {
                "requests": len(seconds) / asked["seconds"],
                "p50": float(np.quantile(milliseconds, 0.5)),
                "p99": float(np.quantile(milliseconds, 0.99)),
                "errors": sum(one.errors for one in connections) + count - len(seconds),
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main())
