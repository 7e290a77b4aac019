"""Write `prefect.toml`, so that the `prefect` command in the project folder connects to the running stack.

`fashion up` writes it to the current folder if that is a Prefect project, with a `prefect.yaml`. An existing file from
another source is not changed.
"""

from pathlib import Path

from components.files import write_whole
from ops.layout import StackLayout

MARK = "# Written by 'fashion up', removed by 'fashion down'.\n"


def write_project(layout: StackLayout, folder: Path) -> None:
    """Write `prefect.toml` to a project folder, unless one from another source exists."""
    path = folder / "prefect.toml"
    if (folder / "prefect.yaml").is_file() and (_is_ours(path) or not path.exists()):
        write_whole(path, f'{MARK}[api]\nurl = "{layout.api}"\n'.encode())
        write_whole(_note(layout), str(path).encode())


def find_project(layout: StackLayout) -> Path | None:
    """Return the file written for this stack, or None if it no longer exists or was replaced."""
    try:
        path = Path(_note(layout).read_text())
    except FileNotFoundError:
        return None
    return path if _is_ours(path) and f'"{layout.api}"' in path.read_text() else None


def remove_project(layout: StackLayout) -> None:
    """Remove that file."""
    if path := find_project(layout):
        path.unlink()
    _note(layout).unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    return path.is_file() and path.read_text(errors="replace").startswith(MARK)


def _note(layout: StackLayout) -> Path:
    """File that records the path of the written `prefect.toml`."""
    return layout.home / "project"
