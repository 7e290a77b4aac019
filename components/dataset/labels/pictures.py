"""Read labelled pictures: from class folders, or as named in a table."""

from pathlib import Path

from components.contract import DataContract
from components.dataset.labels.examples import LARGEST_PICTURE, LabelCandidate, LabelInput, LabelReject
from components.errors import InputError, UnknownClass
from components.files import is_inside, sha256_of
from components.readers.folders.listing import by_folder, walk
from components.readers.images.photos import read_photo


def read_class_folders(path: Path, contract: DataContract) -> LabelInput:
    """Read `FOLDER/<class>/<picture>`, with class names or numbers. Other files are rejects, except for system files.

    Raises:
        UnknownClass: no folder is named after a class.
    """
    found = walk(path, follow=1)
    tops = [name for name in (*found.folders, *found.links) if "/" not in name]
    if not any(contract.label_of(top) is not None for top in tops):
        raise UnknownClass(str(path), f"no folder is named after a class: {contract.choices}", tops[0] if tops else "")
    candidates, rejects, inputs = list[LabelCandidate](), list[LabelReject](), dict[str, str]()
    for name in sorted([*found.names, *found.links], key=by_folder):
        label = contract.label_of(name.partition("/")[0]) if "/" in name else None
        read = read_picture(path, name, label, contract)
        if isinstance(read, LabelCandidate):
            inputs[name] = sha256_of(path / name)
            candidates.append(read)
        else:
            rejects.append(read)
    return LabelInput(path.name, inputs, candidates, rejects, left_out=tuple(found.hidden))


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
