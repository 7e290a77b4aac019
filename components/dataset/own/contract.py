"""Derive the contract of a custom catalogue: classes from the source, image and preparation from the options."""

import unicodedata
from collections import Counter

from components.catalogues import DEFAULT
from components.catalogues.preparation import EMBEDDING, check_preparation, preparation_of
from components.contract import DataContract, Embedding, ImageSpec, fold_name
from components.dataset.own.rows import SourceRows
from components.errors import SourceError

FEWEST = 10  # pictures per class; fewer give neither a useful model nor a meaningful test
FEWEST_SMALL = 2  # one for training, one for testing
DEFAULT_PREPARATION = "letterbox"
SMALL_PICTURE = ImageSpec(64, 64, 3)  # shown for the photos of a catalogue with a network


def derive_contract(
    name: str,
    source: SourceRows,
    image: ImageSpec | None = None,
    preparation: str = "",
    allow_small: bool = False,
    embedding: Embedding | None = None,
) -> DataContract:
    """Derive the contract of a new catalogue.

    Args:
        name: the catalogue's name.
        source: its first source. Classes are sorted by name, numbers by value.
        image: size and channels. None: those of the source, else those of Fashion-MNIST; with a network, 64 x 64 in
            colour.
        preparation: how a photo becomes an image. "": `letterbox`; with a network, `embedding`.
        allow_small: allow classes with fewer than 10 pictures.
        embedding: the frozen network, if any.

    Raises:
        SourceError: fewer than 2 or more than 1,000 classes, equivalent class names, too few pictures in a class, or
            images that differ from `image`.
        SettingsError: unknown preparation, or one that does not produce such images.
    """
    classes = tuple(unicodedata.normalize("NFC", one) for one in source.classes)
    _check_names(source)
    check_preparation(preparation)
    if image and source.image and image != source.image:
        raise SourceError(f"{source.name}: found images of {source.image}, but --image is {image}")
    if embedding and source.image:
        raise SourceError(
            f"{source.name}: found pixels, but a network takes photos. Leave out --network (FASHION_NETWORK)"
        )
    default, usual = (SMALL_PICTURE, EMBEDDING) if embedding else (DEFAULT.contract.image, DEFAULT_PREPARATION)
    try:
        contract = DataContract(
            name, classes, source.image or image or default, preparation or usual, embedding=embedding
        )
    except ValueError as error:
        raise SourceError(f"{source.name}: {error}") from error
    preparation_of(contract)
    count = Counter(contract.label_of(row.label) for row in source.rows)
    fewest = FEWEST_SMALL if allow_small else FEWEST
    if few := [f"{one} ({count[label]})" for label, one in enumerate(classes) if count[label] < fewest]:
        hint = "" if allow_small else ". 'fashion ingest --allow-small' accepts classes of 2 pictures"
        shown = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        empty = {one for label, one in enumerate(classes) if not count[label]}
        reasons = "".join(f". {one.name}: {one.reason}" for one in source.rejected if one.name in empty)
        raise SourceError(
            f"{source.name}: expected at least {fewest} pictures per class, found fewer of {shown}{hint}{reasons}"
        )
    return contract


def _check_names(source: SourceRows) -> None:
    """Reject class names that are equivalent, and names with control characters."""
    first = dict[str, str]()
    for name in source.classes:
        if any(unicodedata.category(character) == "Cc" for character in name):
            raise SourceError(f"{source.name}: the class name {name!r} contains a control character. Rename it")
        other = first.setdefault(fold_name(name), name)
        if other != name:
            equal = "differ only in case, white space or Unicode normalization"
            raise SourceError(f"{source.name}: the classes {other!r} and {name!r} {equal}. Rename one or merge them")
