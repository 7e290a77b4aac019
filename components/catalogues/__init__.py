"""What ships: Fashion-MNIST, its drawn stand-in, and how photos are prepared. Nothing else names a class."""

from components.catalogues import fashion_mnist
from components.catalogues.catalogue import Catalogue
from components.catalogues.fashion_mnist import OFFICIAL as OFFICIAL
from components.contract import DataContract

DEFAULT = fashion_mnist.CATALOGUE  # what a command is about where no data say otherwise


def catalogue_of(contract: DataContract) -> Catalogue:
    """What is known of the data that a contract is about; of one that does not ship, its contract alone."""
    if contract.name == fashion_mnist.CONTRACT.name:
        return fashion_mnist.CATALOGUE
    return Catalogue(contract)
