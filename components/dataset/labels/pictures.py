"""Pictures with a class: a folder a class, or named by a table."""

from pathlib import Path

from components.contract import DataContract
from components.dataset.labels.examples import LARGEST_PICTURE, HandedIn, LabelCandidate, LabelReject
from components.errors import InputError, UnknownClass
from components.files import is_inside, sha256_of
from components.readers.folders.listing import by_folder, walk
from components.readers.images.photos import read_photo


def read_class_folders(path: Path, contract: DataContract) -> HandedIn:
    """Read `FOLDER/<class>/<picture>`, the class by name or number; whatever else is in it is a reject, but for what
    systems and tools leave in folders.

    Raises:
        UnknownClass: no folder in it is named after a class.
    """
    found = walk(path, follow=1)
    tops = [name for name in (*found.folders, *found.links) if "/" not in name]
    if not any(contract.label_of(top) is not None for top in tops):
        raise UnknownClass(str(path), f"no folder named after a class: {contract.choices}", tops[0] if tops else "")
    candidates, rejects, inputs = list[LabelCandidate](), list[LabelReject](), dict[str, str]()
    for name in sorted([*found.names, *found.links], key=by_folder):
        label = contract.label_of(name.partition("/")[0]) if "/" in name else None
        read = read_picture(path, name, label, contract)
        if isinstance(read, LabelCandidate):
            inputs[name] = sha256_of(path / name)
            candidates.append(read)
        else:
            rejects.append(read)
    return HandedIn(path.name, inputs, candidates, rejects, left_out=tuple(found.hidden))


def read_picture(root: Path, name: str, label: int | None, contract: DataContract) -> LabelCandidate | LabelReject:
    """One picture below a root, as the model would see it; the first view of a photo.

    Args:
        root: what the name is relative to; a name that leads out of it is a reject.
        name: the file's path.
        label: its class; None: it has none, which is a reject.
        contract: of the image that it becomes.
    """
    file, content = root / name, b""
    try:
        if not is_inside(file, root):
            return LabelReject(name, "leads out of the folder", b"")
        if file.exists() and not file.is_file():
            return LabelReject(name, "not a file", b"")
        if file.stat().st_size > LARGEST_PICTURE:
            return LabelReject(name, f"a file of more than {LARGEST_PICTURE >> 20} MiB", b"")
        content = file.read_bytes()
        if label is None:
            reason = "in no folder that is named after a class"
            top = name.partition("/")[0] if "/" in name else ""
            return LabelReject(name, reason, content, name, unknown="" if top.isdecimal() else top)
        return LabelCandidate(name, label, read_photo(content, contract, name).tobytes(), original=content, file=name)
    except (OSError, ValueError) as error:
        return LabelReject(name, f"cannot be read: {getattr(error, 'strerror', None) or error}", content)
    except InputError as error:
        return LabelReject(name, error.reason, content, name)
