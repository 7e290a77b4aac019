"""Classify photos with a running service: `python examples/client.py PHOTO...`. Standard library only.

FASHION_URL is the service's address, http://127.0.0.1:3000 by default. FASHION_TOKEN is sent if it is set.
"""

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

URL = "http://127.0.0.1:3000"
TIMEOUT = 30  # seconds


def classify(paths: list[Path], url: str = URL, token: str = "", top: int = 3) -> dict[str, Any]:
    """Send photos to POST /classify as one form.

    Args:
        paths: 1 to 64 picture files.
        url: address of the service, without a path.
        token: the service's FASHION_TOKEN, or "".
        top: number of most likely classes to return for each photo.

    Returns:
        The answer: `model`, `predictions` (one per photo, in order) and `warnings`.

    Raises:
        HTTPError: the service refuses the request; the body's `error.reason` says why.
        URLError: no service answers.
    """
    boundary = uuid.uuid4().hex
    body = b"".join(_part(path, boundary) for path in paths) + f"--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = Request(f"{url}/classify?top={top}", body, headers)  # noqa: S310, the caller names the service
    with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        answer: dict[str, Any] = json.load(response)
    return answer


def _part(path: Path, boundary: str) -> bytes:
    name = path.name.replace("\\", "\\\\").replace('"', '\\"')
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
    return head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + path.read_bytes() + b"\r\n"


def main(names: list[str]) -> int:
    """Print a line for each photo. Returns the exit status."""
    try:
        url, token = os.environ.get("FASHION_URL", URL), os.environ.get("FASHION_TOKEN", "")
        answer = classify([Path(name) for name in names], url, token)
    except HTTPError as error:
        print(f"refused with {error.code}: {json.load(error)['error']['reason']}", file=sys.stderr)
        return 1
    except (URLError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    for found in answer["predictions"]:
        likely = ", ".join(f"{one['name']} {one['probability']:.1%}" for one in found["top"])
        notes = ["unknown"] if found["known"] is False else []  # null if the model cannot tell
        notes += [] if found["sure"] else ["the model abstains"]
        print(f"{found['file']}: {likely}" + (f" ({', '.join(notes)})" if notes else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if len(sys.argv) > 1 else "usage: client.py PHOTO...")
