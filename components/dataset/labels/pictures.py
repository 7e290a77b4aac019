"""Pictures with a class: a folder a class, or named by a table."""

import os
from pathlib import Path

from components.catalogues.fashion_mnist import CLASSES, label_of
from components.dataset.labels.examples import LARGEST_PICTURE, HandedIn, LabelCandidate, LabelReject
from components.errors import InputError
from components.files import sha256_of
from components.readers.folders.litter import is_litter
from components.readers.images.photos import read_photo


def read_class_folders(path: Path) -> HandedIn:
    """Read `FOLDER/<class>/<picture>`, the class by name or number; whatever else is in it is a reject, but for what
    systems and tools leave in folders.

    Raises:
        InputError: no folder in it is named after a class.
    """
    left_out = list[str]()
    shown = [file for file in sorted(path.iterdir()) if not file.name.startswith(".") and not is_litter(file.name)]
    left_out += [file.name for file in path.iterdir() if file not in shown]
    if not any(file.is_dir() and label_of(file.name) is not None for file in shown):
        raise InputError(str(path), f"no folder named after a class: 0 to 9 or one of {', '.join(CLASSES)}")
    candidates, rejects, inputs = list[LabelCandidate](), list[LabelReject](), dict[str, str]()
    for file in (file for top in shown for file in (sorted(top.rglob("*")) if _is_entered(top, path) else [top])):
        name = file.relative_to(path).as_posix()
        ignored = [part.startswith(".") or is_litter(part) for part in name.split("/")]
        if any(ignored):
            left_out += [] if any(ignored[:-1]) else [name]
            continue
        if _is_folder(file):
            continue
        label = label_of(name.partition("/")[0]) if "/" in name else None
        found = read_picture(path, name, label)
        if isinstance(found, LabelCandidate):
            inputs[name] = sha256_of(file)
            candidates.append(found)
        else:
            rejects.append(found)
    return HandedIn(path.name, inputs, candidates, rejects, left_out=tuple(sorted(left_out)))


def _is_entered(top: Path, root: Path) -> bool:
    """Whether the pictures in a folder of the root are read: a link to another folder in the root is followed."""
    target, above = Path(os.path.realpath(top)), Path(os.path.realpath(root))
    return top.is_dir() and target != above and target.is_relative_to(above)


def _is_folder(path: Path) -> bool:
    """Whether it is gone into: a link to a folder elsewhere is a reject, and not what is in that."""
    return path.is_dir() and not path.is_symlink()


def read_picture(root: Path, name: str, label: int | None) -> LabelCandidate | LabelReject:
    """One picture below a root, as the model would see it; the first view of a photo.

    Args:
        root: what the name is relative to; a name that leads out of it is a reject.
        name: the file's path.
        label: its class; None: it has none, which is a reject.
    """
    file, content = root / name, b""
    try:
        if not file.resolve().is_relative_to(root.resolve()):
            return LabelReject(name, "leads out of the folder", b"")
        if file.exists() and not file.is_file():
            return LabelReject(name, "not a file", b"")
        if file.stat().st_size > LARGEST_PICTURE:
            return LabelReject(name, f"a file of more than {LARGEST_PICTURE >> 20} MiB", b"")
        content = file.read_bytes()
        if label is None:
            return LabelReject(name, "in no folder that is named after a class", content, name)
        return LabelCandidate(name, label, read_photo(content, name).tobytes(), original=content, file=name)
    except (OSError, ValueError) as error:
        return LabelReject(name, f"cannot be read: {getattr(error, 'strerror', None) or error}", content)
    except InputError as error:
        return LabelReject(name, error.reason, content, name)
