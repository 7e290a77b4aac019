"""Read labelled pictures: from class folders, or as named in a table."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from components.contract import DataContract
from components.dataset.labels.examples import LARGEST_PICTURE, LabelCandidate, LabelInput, LabelReject
from components.dataset.threads import Progress, map_threads
from components.errors import InputError, UnknownClass
from components.files import is_inside
from components.readers.folders.listing import by_folder, walk
from components.readers.images.photos import read_photo


def read_class_folders(path: Path, contract: DataContract, progress: Progress = lambda done, total: None) -> LabelInput:
    """Read `FOLDER/<class>/<picture>`, with class names or numbers. Other files are rejects, except for system files.

    Args:
        path: the folder.
        contract: the dataset's contract.
        progress: called after each picture.

    Raises:
        UnknownClass: no folder is named after a class.
    """
    found = walk(path, follow=1)
    tops = [name for name in (*found.folders, *found.links) if "/" not in name]
    if not any(contract.label_of(top) is not None for top in tops):
        raise UnknownClass(str(path), f"no folder is named after a class: {contract.choices}", tops[0] if tops else "")

    def read(name: str) -> LabelCandidate | LabelReject:
        label = contract.label_of(name.partition("/")[0]) if "/" in name else None
        return read_picture(path, name, label, contract)

    names = sorted([*found.names, *found.links], key=by_folder)
    candidates, rejects = split_rejects(map_threads(read, names, progress))
    inputs = {one.file: hashlib.sha256(one.original).hexdigest() for one in candidates}
    return LabelInput(path.name, inputs, candidates, rejects, left_out=tuple(found.hidden))


def split_rejects(
    read: Iterable[LabelCandidate | LabelReject | None],
) -> tuple[list[LabelCandidate], list[LabelReject]]:
    """Separate candidates and rejects, each in order."""
    found = [one for one in read if one is not None]
    return (
        [one for one in found if isinstance(one, LabelCandidate)],
        [one for one in found if isinstance(one, LabelReject)],
    )


def read_picture(root: Path, name: str, label: int | None, contract: DataContract) -> LabelCandidate | LabelReject:
    """Read one picture and prepare it as for the model; a photo gives its first view.

    Args:
        root: base folder. A path outside it is a reject.
        name: the file's path, relative to `root`.
        label: its label. None is a reject.
        contract: the contract of the prepared image.
    """
    file, content = root / name, b""
    try:
        if not is_inside(file, root):
            return LabelReject(name, "outside the folder", b"")
        if file.exists() and not file.is_file():
            return LabelReject(name, "not a file", b"")
        if file.stat().st_size > LARGEST_PICTURE:
            return LabelReject(name, f"larger than {LARGEST_PICTURE >> 20} MiB", b"")
        content = file.read_bytes()
        if label is None:
            reason = "not in a folder named after a class"
            top = name.partition("/")[0] if "/" in name else ""
            return LabelReject(name, reason, content, name, unknown="" if top.isdecimal() else top)
        return LabelCandidate(name, label, read_photo(content, contract, name).tobytes(), original=content, file=name)
    except (OSError, ValueError) as error:
        return LabelReject(name, f"cannot be read: {getattr(error, 'strerror', None) or error}", content)
    except InputError as error:
        return LabelReject(name, error.reason, content, name)
