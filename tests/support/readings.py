"""Columns and reader options for Fashion-MNIST."""

from components.catalogues.fashion_mnist import CONTRACT
from components.readers.blocks import Wanted
from components.readers.tables.columns import pixel_columns

PIXEL_COLUMNS = pixel_columns(CONTRACT.image)
WANTED = Wanted(CONTRACT)
