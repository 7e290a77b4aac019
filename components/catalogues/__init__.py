"""What ships: Fashion-MNIST, its drawn stand-in, and how photos are prepared. Nothing else names a class."""

from dataclasses import replace

from components.catalogues import fashion_mnist
from components.catalogues.catalogue import Catalogue
from components.catalogues.fashion_mnist import OFFICIAL as OFFICIAL
from components.contract import DataContract

DEFAULT = fashion_mnist.CATALOGUE  # what a command is about where no data say otherwise

CHANGED = replace(  # with other classes: how many rows and of which classes is profiled, as of a catalogue of one's own
    DEFAULT, validation=replace(DEFAULT.validation, rows={}, class_share=(0.0, 1.0)), profiled=True
)


def catalogue_of(contract: DataContract) -> Catalogue:
    """What is known of the data that a contract is about; of one that does not ship, its contract alone.

    Of one that ships and whose classes were changed, all but its contract.
    """
    if contract.name != fashion_mnist.CONTRACT.name:
        return Catalogue(contract)
    return fashion_mnist.CATALOGUE if contract.classes == fashion_mnist.CLASSES else CHANGED
