"""Pages of the repository as pages of the site: where each goes, and its links rewritten to match."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from components.settings import CHECKOUT
from docs.build.notebooks import render_notebook

# [text](target) and ![text](target "title"); the target of a link is its second group.
LINK = re.compile(r"(\]\()([^)\s]+)((?:\s+\"[^\"]*\")?\))")
FENCE = re.compile(r"^(```|~~~)")
ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",  # docs/security.md is security.md
    "examples/README.md": "examples.md",
}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".js": "javascript"}


def find_pages() -> dict[str, str]:
    """The repository's pages, notebooks and pictures -> where each goes in the site, both with forward slashes."""
    pages = dict(ROOT)
    for path in sorted((CHECKOUT / "docs").rglob("*")):
        name = path.relative_to(CHECKOUT).as_posix()
        if path.suffix in {".md", ".png", ".svg"} and not name.startswith("docs/build/"):
            pages[name] = name.removeprefix("docs/")
        elif path.suffix == ".ipynb":
            pages[name] = f"notebooks/{path.stem}.md"
    for path in sorted((CHECKOUT / "benchmarks" / "results").glob("*.md")):
        pages[f"benchmarks/results/{path.name}"] = f"benchmarks/{path.name}"
    return {name: page for name, page in pages.items() if (CHECKOUT / name).is_file()}


def copy_pages(folder: Path) -> None:
    """Copy every page, with each source file that one of them links to, and an index of decisions and benchmarks."""
    pages = find_pages()
    pages |= {"docs/decisions": "decisions/index.md", "benchmarks/results": "benchmarks/index.md"}
    linked = set[str]()
    folder.mkdir(parents=True)
    shutil.copyfile(Path(__file__).with_name("site.css"), folder / "site.css")
    for name, page in pages.items():
        source, target = CHECKOUT / name, folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".ipynb":
            shutil.copyfile(source, target.with_suffix(".ipynb"))
            text = render_notebook(source)
        elif source.is_dir():
            text = index_of(source)
        elif source.suffix == ".md":
            text = source.read_text()
        else:
            shutil.copyfile(source, target)
            continue
        target.write_text(relink(text, name if source.is_file() else f"{name}/README.md", pages, linked))
    for name in sorted(linked):
        target = folder / _source_page(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(show_source(name))


def relink(text: str, name: str, pages: dict[str, str], linked: set[str]) -> str:
    """Point the links of a page at pages of the site.

    Args:
        text: Markdown.
        name: the page's path in the repository.
        pages: path in the repository -> path in the site.
        linked: receives the source files that the page links to.
    """
    here = Path(pages.get(name) or pages[str(Path(name).parent)]).parent

    def replace(match: re.Match[str]) -> str:
        path, _, anchor = match[2].partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        target = os.path.normpath(Path(name).parent / path)
        if target not in pages:
            if not (CHECKOUT / target).is_file():
                return match[0]  # left as it is: the strict build reports it
            linked.add(target)
        page = pages.get(target) or _source_page(target)
        return f"{match[1]}{os.path.relpath(page, here)}{'#' if anchor else ''}{anchor}{match[3]}"

    return "".join(LINK.sub(replace, part) if is_text else part for part, is_text in split_code(text))


def split_code(text: str) -> Iterator[tuple[str, bool]]:
    """The lines of a page, each with whether it is text rather than part of a fenced code block."""
    fence = ""
    for line in text.splitlines(keepends=True):
        if (mark := FENCE.match(line.lstrip())) and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
            yield line, False
        else:
            yield line, not fence


def title_of(path: Path) -> str:
    """The first heading of a page."""
    found = re.search(r"^# (.+)$", path.read_text(), re.MULTILINE)
    return found[1] if found else path.stem


def index_of(folder: Path) -> str:
    """A list of the pages of a folder."""
    heading = folder.name.capitalize() if folder.name != "results" else "Benchmarks"
    lines = [f"- [{title_of(path)}]({path.name})" for path in sorted(folder.glob("*.md"))]
    return f"# {heading}\n\n" + "\n".join(lines) + "\n"


def _source_page(name: str) -> str:
    return f"source/{name}.md"


def show_source(name: str) -> str:
    """A page with the content of a source file."""
    path = CHECKOUT / name
    return f"# {name}\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text().rstrip()}\n````\n"
