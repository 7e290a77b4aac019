"""The documentation: every link between its pages, and the pages that are generated from code."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

import fashion
from components.settings import CHECKOUT
from docs.build.commands import describe_commands
from docs.build.endpoints import describe_endpoints
from docs.build.functions import describe_functions
from docs.build.notebooks import render_notebook
from docs.build.pages import copy_pages, find_pages
from docs.build.variables import CLASSES, describe_settings, read_comments
from fashion.cli.app import app
from serving.endpoints import ENDPOINTS
from serving.pages import PATHS

PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
    *sorted((CHECKOUT / "docs").rglob("*.md")),
]
MARKDOWN = MarkdownIt().enable("table")


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def inline_tokens(page: Path) -> Iterator[tuple[str, Token]]:
    """Each token with text, and the tag of the block that it is in."""
    tokens = MARKDOWN.parse(page.read_text())
    for before, token in pairwise(tokens):
        if token.type == "inline":
            yield before.tag, token


def links_of(page: Path) -> list[str]:
    found = (child for _, token in inline_tokens(page) for child in token.children or ())
    return [
        str(child.attrGet("href") or child.attrGet("src")) for child in found if child.type in {"link_open", "image"}
    ]


@cache
def anchors_of(page: Path) -> set[str]:
    """Anchors of a page's headings, by GitHub's rules."""
    found = set[str]()
    for tag, token in inline_tokens(page):
        if re.fullmatch(r"h[1-6]", tag):
            text = "".join(child.content for child in token.children or () if child.type in {"text", "code_inline"})
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            number = 0
            while (anchor := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(anchor)
    return found


def broken_links(page: Path) -> Iterator[str]:
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and (target.suffix != ".md" or anchor not in anchors_of(target)):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# `A_b` & c, d\n\n## A b\n\n## A b\n\n```\n[no link](in-code.md)\n```\n\n"
        "[1](#a_b--c-d) [2](#a-b-1) [3](page.md#a-b) [4](https://example.org/x#y)\n\n"
        "| [5](gone.md) |\n| --- |\n| [6](#a-b-2) |\n"
    )
    assert list(broken_links(page)) == ["gone.md: no such file", "#a-b-2: no such heading"]


# --- the site's pages ---


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose slug function is a Python object."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def pages_in(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav.partition("#")[0]
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_in(entry)


@pytest.fixture(scope="module")
def nav() -> set[str]:
    configuration = yaml.load((CHECKOUT / "mkdocs.yml").read_text(), Loader)
    return set(pages_in(configuration["nav"]))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "pages"
    copy_pages(folder)
    return folder


def test_every_page_of_the_repository_is_in_the_navigation(nav: set[str]) -> None:
    pages = {page for page in find_pages().values() if page.endswith(".md")}
    generated = {f"reference/{name}.md" for name in ("python", "cli", "settings", "http")}
    assert nav == pages | generated | {"decisions/index.md", "benchmarks/index.md"}


def test_links_of_the_written_pages_lead_to_written_files(written: Path) -> None:
    pages = sorted(written.rglob("*.md"))
    assert len(pages) > 50
    for page in pages:
        broken = [link for link in broken_links(page) if not re.match(r"(\.\./)*reference/", link)]
        assert broken == [], page.relative_to(written)


def test_a_linked_source_file_becomes_a_page(written: Path) -> None:
    assert "def classify(" in (written / "source" / "examples" / "client.py.md").read_text()


def test_a_notebook_becomes_a_page_and_a_download(written: Path) -> None:
    notebook = CHECKOUT / "docs" / "tour.ipynb"
    assert (written / "notebooks" / "tour.ipynb").read_bytes() == notebook.read_bytes()
    page = render_notebook(notebook)
    assert page.startswith("# ")
    assert "[Download this notebook](tour.ipynb)" in page
    assert "```python\n" in page


# --- the generated reference ---


def test_every_command_is_in_the_reference() -> None:
    page = describe_commands()
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        assert f"### fashion {name}\n" in page
    assert "#### fashion label import\n" in page
    assert "| `--preset <str>` |" in page
    assert "$ fashion score catalogue.csv predictions.csv" in page


def test_every_setting_is_in_the_reference_with_its_description() -> None:
    page = describe_settings()
    for kind in CLASSES.values():
        prefix = kind.model_config.get("env_prefix", "")
        for name in kind.model_fields:
            assert f"| `{prefix}{name}`".upper() in page
    assert "| `FASHION_GATE_MARGIN` | `0.005` | Accuracy, 0 to 1. Between seeds" in page
    assert "`data/` in the checkout" in page
    assert str(CHECKOUT) not in page


def test_a_comment_or_a_docstring_describes_a_setting() -> None:
    comments = read_comments(CLASSES["Data"])
    assert comments["download_timeout"].startswith("Seconds without data")
    assert read_comments(CLASSES["Drift"])["windows"] == "Number of newest windows to evaluate."


def test_every_endpoint_is_in_the_reference() -> None:
    page = describe_endpoints()
    for path, (method, _) in ENDPOINTS.items():
        if path != "/openapi.json" and path not in PATHS:
            assert f"\n## {method} {path}\n" in page
    assert "| 413 |" in page
    assert "### Predictions" in page
    assert '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "... 784 in all"]' in page


def test_every_function_of_the_package_is_in_the_reference() -> None:
    page = describe_functions()
    for name, place in fashion.API.items():
        assert f"::: {place.replace(':', '.')}\n    options:\n      heading: fashion.{name}\n" in page


def test_make_setup_says_what_it_does_and_how_long_it_takes() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    said = next(line for line in done.stdout.splitlines() if line.startswith("echo "))
    assert "setting up .venv" in said
    assert "one or two minutes" in said
    assert "uv pip sync --quiet" in done.stdout, "no progress without a terminal"


STRINGS = [
    (path, node.value)
    for folder in ("components", "fashion", "flows", "ops", "serving")
    for path in sorted((CHECKOUT / folder).rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
]


def test_messages_name_the_fashion_command_and_not_its_make_target() -> None:
    """The README says that `make up` is the same."""
    found = [
        (name_of(path), text) for path, text in STRINGS if re.search(r"\bmake (run|up|down|status|serve|bento)\b", text)
    ]
    assert not found
    readme = (CHECKOUT / "README.md").read_text()
    assert "`make up` is the same as `fashion up`" in readme
