"""Read one folder per class: `FOLDER/<class>/.../<picture>`, optionally with `train` and `test` above the classes.

The top folder names the class, whatever is below it, as in torchvision's `ImageFolder`.
"""

from collections.abc import Iterator
from pathlib import Path

from components.dataset.own.rows import HELD_OUT, SPLIT_NAMES, Rejected, SourceRow, SourceRows, order_names
from components.errors import SourceError
from components.files import is_inside
from components.readers.folders.listing import FileListing, by_folder, walk
from components.readers.folders.names import is_picture

DEEPEST = 8  # folder levels at which symbolic links are followed


def read_class_folders(path: Path) -> SourceRows:
    """List a folder. Pictures are read later.

    Raises:
        SourceError: there are no class folders, or something next to the splits could be a class.
    """
    found = walk(path, follow=DEEPEST)
    tops = sorted(name for name in (*found.folders, *found.links) if "/" not in name)
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    held_out = [top for top in tops if splits and top.lower() in HELD_OUT]
    if splits and "train" not in splits.values():
        raise SourceError(f"{path}: found {', '.join(splits)}, but no folder train")
    if splits and (strange := [top for top in tops if top not in (*splits, *held_out)]):
        raise SourceError(f"{path / strange[0]}: not a split; expected only train and test")
    depth = 1 if splits else 0
    below = [name.split("/") for name in (*found.folders, *found.links) if name.count("/") == depth]
    classes = order_names(parts[depth] for parts in below if parts[0] not in held_out)
    if not classes:
        example = Path(path.name, "shirts", "1.jpg")
        raise SourceError(f"{path}: found no folder of pictures, expected one for each class, such as {example}")
    rows, rejected, left_out = list[SourceRow](), list[Rejected](), [*held_out, *found.hidden]
    for name in sorted(found.names, key=by_folder):
        parts = name.split("/")
        if parts[0] in held_out:
            continue
        if len(parts) <= depth + 1:
            (rejected.append(Rejected(name, "not in a class folder")) if is_picture(name) else left_out.append(name))
        else:
            rows.append(SourceRow(name, parts[depth], name, splits.get(parts[0])))
    rejected += _links(found, held_out)
    return SourceRows(f"images:{path.name}", path, tuple(rows), tuple(classes), tuple(rejected), tuple(left_out))


def _links(found: FileListing, held_out: list[str]) -> Iterator[Rejected]:
    for name in found.links:
        if name.split("/")[0] not in held_out:
            to = "to a parent folder" if is_inside(found.root / name, found.root) else "outside the source"
            yield Rejected(name, f"a link {to}, which is not followed")
