"""The example clients against a real service."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest
from servers import SERVICE_TOKEN, Server

from components.contract import ModelCard
from components.settings import CHECKOUT
from examples.client import classify

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]
EXAMPLES = CHECKOUT / "examples"
PHOTOS = sorted((EXAMPLES / "photos").glob("*.png"))
PYTHON = [sys.executable, str(EXAMPLES / "client.py")]


def run(command: list[str], server: Server, token: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "FASHION_URL": server.url, "FASHION_TOKEN": token}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_python_prints_one_line_per_photo(server: Server, card: ModelCard) -> None:
    done = run([*PYTHON, *map(str, PHOTOS)], server)
    assert done.returncode == 0, done.stderr
    for line, photo in zip(done.stdout.splitlines(), PHOTOS, strict=True):
        name, _, likely = line.partition(": ")
        assert name == photo.name
        assert all(one.rsplit(" ", 1)[0] in card.contract.classes for one in likely.split(" (")[0].split(", "))


def test_python_reports_a_refusal(server: Server) -> None:
    done = run([*PYTHON, str(EXAMPLES / "catalogue.csv")], server)
    assert done.returncode == 1
    assert done.stderr.startswith("refused with 400: not a PNG, JPEG")


def test_python_sends_the_token(guarded: Server) -> None:
    with pytest.raises(HTTPError, match="401"):
        classify(PHOTOS, guarded.url)
    assert len(classify(PHOTOS, guarded.url, SERVICE_TOKEN, top=1)["predictions"]) == len(PHOTOS)


def test_javascript_in_node_prints_the_same(server: Server) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js is installed; the browser runs the same file")
    done = run([node, str(EXAMPLES / "client.mjs"), *map(str, PHOTOS)], server)
    assert done.returncode == 0, done.stderr
    assert done.stdout == run([*PYTHON, *map(str, PHOTOS)], server).stdout
    refused = run([node, str(EXAMPLES / "client.mjs"), str(EXAMPLES / "catalogue.csv")], server)
    assert (refused.returncode, refused.stderr[:16]) == (1, "refused with 400")


@pytest.fixture
def page(browser: "Browser", server: Server) -> "Page":
    """A page on the service's origin with a file input and the client."""
    html = '<input type="file" multiple><script type="module" src="/try.js"></script>'
    script = "import * as client from '/client.mjs'; window.client = client;"

    def fulfill(route: "Route") -> None:
        content = {"/try": (html, "text/html"), "/try.js": (script, "text/javascript")}
        body, kind = content.get(
            route.request.url.removeprefix(server.url),
            ((EXAMPLES / "client.mjs").read_text(), "text/javascript"),
        )
        route.fulfill(body=body, content_type=kind)

    page = browser.new_page()
    for path in ("try", "try.js", "client.mjs"):
        page.route(f"{server.url}/{path}", fulfill)
    page.goto(f"{server.url}/try")
    page.wait_for_function("window.client")
    return page


def test_javascript_in_a_browser_prints_the_same(page: "Page", server: Server, tmp_path: Path) -> None:
    page.set_input_files("input", [str(photo) for photo in PHOTOS])
    lines = page.evaluate(
        "async url => client.describe(await client.classify([...document.querySelector('input').files], {url}))",
        server.url,
    )
    assert lines == run([*PYTHON, *map(str, PHOTOS)], server).stdout.splitlines()
    page.set_input_files("input", [str(EXAMPLES / "catalogue.csv")])
    refused = page.evaluate(
        "url => client.classify([...document.querySelector('input').files], {url}).catch(error => error.message)",
        server.url,
    )
    assert refused.startswith("refused with 400: not a PNG, JPEG")
    page.close()
