"""`prefect.toml`, which Prefect reads in the current folder: there, `prefect` reaches the stack that is up.

It is written where `fashion up` is typed, if that is a project of Prefect's: the folder has a `prefect.yaml`. A file
that somebody else wrote stays as it is.
"""

from pathlib import Path

from components.files import write_whole
from ops.layout import StackLayout

MARK = "# Written by 'fashion up', removed by 'fashion down'.\n"


def write_project(layout: StackLayout, folder: Path) -> None:
    """Let `prefect` in a folder reach the stack, where the file is ours to write."""
    path = folder / "prefect.toml"
    if (folder / "prefect.yaml").is_file() and (_is_ours(path) or not path.exists()):
        write_whole(path, f'{MARK}[api]\nurl = "{layout.api}"\n'.encode())
        write_whole(_note(layout), str(path).encode())


def find_project(layout: StackLayout) -> Path | None:
    """The file that was written for this stack, unless it is gone or somebody else has written it since."""
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
    """A file with the name of the one that was written."""
    return layout.home / "project"
