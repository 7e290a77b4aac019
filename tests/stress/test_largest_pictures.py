"""Memory and time to read the largest accepted pictures."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from harmed_pictures import (
    encode,
    join_jpeg,
    noise,
    png,
    split_jpeg,
)
from PIL import Image
from servers import Server

from components.settings import CHECKOUT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]
GREY, PALETTE = 0, 3  # PNG colour types


PROGRAM = """
import sys, time
from components.catalogues.fashion_mnist import CONTRACT
from components.readers.images.photos import read_views
def kilobytes(of):
    return int(open("/proc/self/status").read().split(of + ":")[1].split()[0])
content = open(sys.argv[1], "rb").read()
before, began = kilobytes("VmRSS"), time.process_time()
read_views(content, CONTRACT)
print(kilobytes("VmHWM") - before, time.process_time() - began)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads how much memory was in use at most from /proc")
def test_the_largest_pictures_take_300_mb_and_about_a_second(tmp_path: Path) -> None:
    for name, content in largest().items():
        file = tmp_path / "picture"
        file.write_bytes(content)
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], cwd=CHECKOUT, capture_output=True, check=True)
        kilobytes, seconds = map(float, done.stdout.split())
        assert kilobytes < 300_000, name
        assert seconds < 2, name


def largest() -> dict[str, bytes]:
    """Return the most expensive pictures of each format."""
    half, flat = Image.new("RGBA", (4096, 4096), (10, 20, 30, 40)), Image.new("RGB", (5000, 5000))
    scans = split_jpeg(encode(flat, "JPEG", progressive=True))
    rows = (b"\4" + bytes(20_000)) * 5000  # Paeth filter
    return {
        "PNG, RGBA": png((5000, 5000), 8, 6, rows),
        "PNG, thin": encode(Image.new("RGBA", (32_768, 762), (10, 20, 30, 40)), "PNG"),
        "PNG, 16 bits": png((5000, 5000), 16, GREY, b"\0" * 50_005_000, (b"tRNS", b"\0\0")),
        "PNG, a palette": png((5000, 5000), 8, PALETTE, bytes(25_005_000), (b"PLTE", bytes(6)), (b"tRNS", b"\0\x80")),
        "JPEG": join_jpeg([*scans, *scans[-1:] * 9]),
        "WebP": encode(half, "WEBP", method=0, quality=50),
        "WebP, lossless": encode(half, "WEBP", method=0, lossless=True),
        "GIF": encode(flat.convert("P"), "GIF"),
        "BMP": encode(flat, "BMP"),
    }


@pytest.mark.slow
def test_a_photo_does_not_wait_for_large_pictures(server: Server) -> None:
    """At most one of two concurrently decoded pictures is large; other pictures get a turn after each."""
    large = encode(Image.new("RGBA", (4900, 4900), (10, 20, 30, 40)), "PNG")
    photo = encode(noise("RGB", 600, 400), "JPEG")

    def send() -> None:
        with server.client() as client:
            files = [("files", (f"{number}.png", large)) for number in range(8)]
            assert client.post("/classify", files=files, timeout=120).status_code == 200

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    with server.client() as client:
        for _ in range(5):
            assert client.post("/classify", content=photo, headers={"Content-Type": "image/jpeg"}).status_code == 200
    assert all(sender.is_alive() for sender in senders), "the photos were answered first"
    for sender in senders:
        sender.join()
