"""Make docs/page.png: the service's page after it classified three photos, 1280 pixels wide.

    make serve
    cd examples/photos
    ../../.venv/bin/python ../../docs/screenshots.py http://127.0.0.1:3000 dress.png sneaker.png ankle-boot.png

Needs Chromium on the PATH.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

TARGET = Path(__file__).with_name("page.png")
WIDTH, HEIGHT = 1280, 800  # pixels of the window
LARGEST = 200_000  # bytes
COLORS = 256


def main() -> None:
    """Read the arguments and write the picture."""
    parser = argparse.ArgumentParser(description="Write docs/page.png from a running service.")
    parser.add_argument("url", help="URL of the service, without a token")
    parser.add_argument("photos", nargs=3, type=Path, help="three photos, shown from left to right")
    given = parser.parse_args()
    content = take(given.url, given.photos)
    TARGET.write_bytes(content)
    print(f"{TARGET}: {len(content):,} bytes")


def take(url: str, photos: list[Path]) -> bytes:
    """Open the page, classify the photos, and return the screenshot as a PNG of at most 200 kB."""
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(url)
        page.locator("#model", has_text="test accuracy").wait_for()
        for number, photo in enumerate(reversed(photos), 1):  # the newest result comes first
            page.set_input_files("#files", photo)
            page.locator(f"#answers > li:nth-child({number})").wait_for()
        page.mouse.move(0, 0)
        shot = page.screenshot(full_page=True)
        browser.close()
    picture = Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    if content.tell() > LARGEST:
        raise SystemExit(
            f"{content.tell():,} bytes, expected at most {LARGEST:,}; choose photos with plain backgrounds"
        )
    return content.getvalue()


if __name__ == "__main__":
    main()
