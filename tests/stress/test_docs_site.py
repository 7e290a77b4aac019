"""The documentation site: `make docs` builds it without warnings; it is complete and loads nothing from other hosts."""

import contextlib
import functools
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag

import pytest

from components.settings import CHECKOUT
from docs.build.pages import find_pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}  # fetched by a browser
RELATIONS = {"canonical", "alternate", "next", "prev"}  # of <link>: not fetched


def make(target: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["make", target], cwd=CHECKOUT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site() -> Path:
    installed = make(".venv-docs/ready")
    if installed.returncode != 0:
        pytest.skip(f"the site generator cannot be installed: {installed.stderr.strip()[-300:]}")
    built = make("docs")
    assert built.returncode == 0, built.stdout + built.stderr
    assert "--strict" in built.stdout
    return CHECKOUT / "site"


@dataclass
class Html(HTMLParser):
    """What a page fetches, its links, and its anchors."""

    fetched: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if values.keys() & {"id", "name"}:
            self.anchors |= {values.get("id", ""), values.get("name", "")}
        if tag == "a" and "href" in values:
            self.linked.append(values["href"])
        elif (url := values.get(LOADED.get(tag, ""))) and values.get("rel") not in RELATIONS:
            self.fetched.append(url)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    pages = {}
    for path in site.rglob("*.html"):
        pages[path] = Html()
        pages[path].feed(path.read_text())
    return pages


def test_every_page_is_built(site: Path) -> None:
    expected = [page.removesuffix(".md") for page in find_pages().values() if page.endswith(".md")]
    expected += ["reference/python", "reference/cli", "reference/settings", "reference/http", "benchmarks/index"]
    assert [page for page in expected if not (site / f"{page}.html").is_file()] == []
    assert (site / "reference" / "openapi.json").is_file()
    assert (site / "search.json").stat().st_size > 100_000


def test_docstrings_are_on_the_python_page(site: Path) -> None:
    text = (site / "reference" / "python.html").read_text()
    assert "Load a model of the store" in text
    assert 'id="components.errors.ModelNotFound"' in text


def test_no_page_fetches_anything_from_another_host(site: Path, pages: dict[Path, Html]) -> None:
    outside = {url for page in pages.values() for url in page.fetched if re.match(r"(https?:)?//", url)}
    assert outside == set()
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", sheet.read_text()), sheet


def test_every_internal_link_and_anchor_exists(site: Path, pages: dict[Path, Html]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.linked:
            if path.name == "404.html" or re.match(r"[a-z]+:", link):
                continue
            name, anchor = urldefrag(link)
            target = (path.parent / unquote(name)).resolve() if name else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and target in pages and unquote(anchor) not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_no_page_contains_a_path_of_this_machine(pages: dict[Path, Html]) -> None:
    assert [path.name for path in pages if str(CHECKOUT) in path.read_text()] == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002, its name in the base class
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_search_works_in_a_browser_without_other_hosts(site: Path, browser: "Browser") -> None:
    requested: list[str] = []
    with serving(site) as url:
        for scheme, background in (("light", 200), ("dark", 60)):
            page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
            page.on("request", lambda request: requested.append(request.url))
            page.goto(f"{url}/quickstart.html")
            page.wait_for_load_state("networkidle")
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            red = int(re.findall(r"\d+", colour)[0])
            assert (red > background) == (scheme == "light"), colour
            page.keyboard.press("Control+k")
            page.keyboard.type("canary")
            page.get_by_text(re.compile(r"^\d+ results$")).wait_for(timeout=20_000)
            page.close()
        outside = [one for one in requested if not one.startswith((url, "data:", "blob:"))]
    assert outside == []
