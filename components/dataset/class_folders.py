"""Read one folder of pictures per class: `FOLDER/<class>/<picture>`, optionally below `train` and `test`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.contract import DataContract, Images, Labels, Split
from components.dataset.pictures import read_pictures
from components.errors import SourceError
from components.files import is_inside, sha256_of
from components.readers.folders.listing import FileListing, by_folder, walk
from components.readers.folders.names import is_litter, is_picture

SPLIT_NAMES: dict[str, Split] = {"train": "train", "training": "train", "test": "test", "testing": "test"}
OTHER_SPLITS = {"val", "valid", "validation"}  # ignored: training holds out its own validation rows


@dataclass(frozen=True)
class ClassFolders:
    """Examples in folders named after their classes."""

    roots: dict[Split, Path]
    name: str
    licence: str
    digests: dict[Split, dict[str, str]]  # "<class folder>/<file>" -> SHA-256
    contract: DataContract
    left_out: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: Path, contract: DataContract) -> "ClassFolders":
        """List a folder. Pictures are read later.

        Raises:
            SourceError: an entry is neither a class folder nor a picture, or links outside the source. Names it.
        """
        found = walk(path, follow=2, hidden=is_litter)
        tops = sorted(name for name in (*found.names, *found.folders, *found.links) if "/" not in name)
        splits = {SPLIT_NAMES[top.lower()]: top for top in tops if top.lower() in SPLIT_NAMES and top in found.folders}
        others = [top for top in tops if splits and top.lower() in OTHER_SPLITS]
        if splits and (strange := [top for top in tops if top not in (*splits.values(), *others)]):
            raise SourceError(f"{path / strange[0]}: not a split; expected only train and test")
        if splits and "train" not in splits:
            raise SourceError(f"{path}: found test, but no folder train")
        roots: dict[Split, Path] = {split: path / top for split, top in splits.items()} or {"train": path}
        digests = {
            split: {name: sha256_of(root / name) for name in _pictures(root, found, contract)}
            for split, root in roots.items()
        }
        hidden = [name for name in found.hidden if name.partition("/")[0] not in others]
        return cls(roots, f"images:{path.name}", "as its owner says", digests, contract, tuple(sorted(others + hidden)))

    @property
    def extends(self) -> bool:
        """True without a test split: the examples are added to a dataset that has one."""
        return "test" not in self.roots

    def read(self, split: Split) -> tuple[Images, Labels]:
        """Read all pictures. Raises SourceError naming the first unreadable one."""
        root, names = self.roots[split], list(self.digests[split])
        images = read_pictures([(str(root / name), (root / name).read_bytes()) for name in names], self.contract)
        return images, np.array([_class_of(root / Path(name).parent, self.contract) for name in names], np.uint16)


def _pictures(root: Path, found: FileListing, contract: DataContract) -> list[str]:
    """List the pictures of a split, sorted by class folder and name.

    Raises:
        SourceError: an entry is neither a class folder nor a picture in one, or links outside the source.
    """
    pictures = list[str]()
    below = "" if root == found.root else f"{root.name}/"
    everything = sorted([*found.names, *found.folders, *found.links], key=by_folder)
    for name in (one.removeprefix(below) for one in everything if one.startswith(below)):
        file, is_top = root / name, "/" not in name
        if file.is_symlink() and not is_inside(file, found.root):
            raise SourceError(f"{file}: links outside {found.root}, which is not followed. Copy the target instead")
        if is_top and not file.is_dir():
            raise SourceError(f"{file}: expected a folder of pictures, named after their class")
        if is_top:
            _class_of(file, contract)
        elif name.count("/") == 1 and file.is_file() and is_picture(name):
            pictures.append(name)
        else:
            raise SourceError(f"{file}: expected a picture")
    if not pictures:
        raise SourceError(f"{root}: expected pictures in the class folders, found none")
    return pictures


def _class_of(folder: Path, contract: DataContract) -> int:
    label = contract.label_of(folder.name)
    if label is None:
        raise SourceError(f"{folder}: not a class; expected {contract.choices}")
    return label
