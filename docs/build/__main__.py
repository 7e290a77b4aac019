"""Write the site's Markdown pages into a folder, from which the site generator makes HTML."""

import shutil
import sys
from pathlib import Path

from docs.build.commands import describe_commands
from docs.build.endpoints import describe_endpoints, write_document
from docs.build.functions import describe_functions
from docs.build.pages import copy_pages
from docs.build.variables import describe_settings


def main(folder: Path) -> None:
    """Write every page, replacing what the folder had."""
    shutil.rmtree(folder, ignore_errors=True)
    copy_pages(folder)
    reference = folder / "reference"
    reference.mkdir()
    (reference / "python.md").write_text(describe_functions())
    (reference / "cli.md").write_text(describe_commands())
    (reference / "settings.md").write_text(describe_settings())
    (reference / "http.md").write_text(describe_endpoints())
    write_document(reference / "openapi.json")
    print(f"{sum(1 for _ in folder.rglob('*.md'))} pages in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
