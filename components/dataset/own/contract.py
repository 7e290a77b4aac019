"""The contract of a catalogue of one's own: its classes from the source, its image and preparation as a person says."""

import unicodedata
from collections import Counter

from components.catalogues import DEFAULT
from components.catalogues.preparation import preparation_of
from components.contract import DataContract, ImageSpec, fold_name
from components.dataset.own.rows import SourceRows
from components.errors import SourceError

FEWEST = 10  # pictures of a class; with fewer neither a test nor a training says much of it
FEWEST_SMALL = 2  # one to train on and one to test
DEFAULT_PREPARATION = "letterbox"


def derive_contract(
    name: str, source: SourceRows, image: ImageSpec | None = None, preparation: str = "", allow_small: bool = False
) -> DataContract:
    """What a new catalogue is about.

    Args:
        name: the catalogue's.
        source: its first source, whose classes are sorted by name, numbers by value.
        image: what its images are; None: what the source has, else as Fashion-MNIST's.
        preparation: how a photo becomes an image; "": `letterbox`.
        allow_small: whether a class may have fewer than 10 pictures.

    Raises:
        SourceError: fewer than 2 classes or more than 1,000, names that are equal, too few pictures of a class, or
            images of another size than asked for.
        SettingsError: no such preparation, or it makes no such images.
    """
    classes = tuple(unicodedata.normalize("NFC", one) for one in source.classes)
    _check_names(source)
    if image and source.image and image != source.image:
        raise SourceError(f"{source.name}: its images are {source.image}, --image says {image}")
    try:
        contract = DataContract(
            name, classes, source.image or image or DEFAULT.contract.image, preparation or DEFAULT_PREPARATION
        )
    except ValueError as error:
        raise SourceError(f"{source.name}: {error}") from error
    preparation_of(contract)
    count = Counter(contract.label_of(row.label) for row in source.rows)
    fewest = FEWEST_SMALL if allow_small else FEWEST
    if few := [f"{one} ({count[label]})" for label, one in enumerate(classes) if count[label] < fewest]:
        hint = "" if allow_small else "; --allow-small takes classes from 2 pictures on"
        shown = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        empty = {one for label, one in enumerate(classes) if not count[label]}
        reasons = "".join(f". {one.name}: {one.reason}" for one in source.rejected if one.name in empty)
        raise SourceError(f"{source.name}: fewer than {fewest} pictures of {shown}{hint}{reasons}")
    return contract


def _check_names(source: SourceRows) -> None:
    """Refuse names that are one but for their spelling, and those that are no line of text."""
    first = dict[str, str]()
    for name in source.classes:
        if any(unicodedata.category(character) == "Cc" for character in name):
            raise SourceError(f"{source.name}: the class {name!r} has a control character in its name; rename it")
        other = first.setdefault(fold_name(name), name)
        if other != name:
            equal = "are equal but for case, white space or how Unicode spells them"
            raise SourceError(f"{source.name}: the classes {other!r} and {name!r} {equal}; rename one or join them")
