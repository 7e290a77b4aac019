"""The built-in catalogue: Fashion-MNIST, its synthetic sample, and photo preparation. No other code names a class."""

from dataclasses import replace

from components.catalogues import fashion_mnist
from components.catalogues.catalogue import Catalogue
from components.catalogues.fashion_mnist import OFFICIAL as OFFICIAL
from components.contract import DataContract

DEFAULT = fashion_mnist.CATALOGUE  # used if no data specify another

CHANGED = replace(  # with changed classes: row and class counts are profiled, as for a custom catalogue
    DEFAULT, validation=replace(DEFAULT.validation, rows={}, class_share=(0.0, 1.0)), profiled=True
)


def catalogue_of(contract: DataContract) -> Catalogue:
    """The catalogue of a contract.

    A custom catalogue has only its contract. For Fashion-MNIST with changed classes, the built-in bounds apply, except
    for row and class counts.
    """
    if contract.name != fashion_mnist.CONTRACT.name:
        return Catalogue(contract)
    return fashion_mnist.CATALOGUE if contract.classes == fashion_mnist.CLASSES else CHANGED
