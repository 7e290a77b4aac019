"""Fashion-MNIST (arXiv:1708.07747): everything that only this catalogue knows."""

from components.catalogues.catalogue import Catalogue, InputBounds, ValidationBounds
from components.contract import DataContract, ImageSpec

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# What tools and people make of the two names that are no single word, in folders and cells. A folder may also be called
# by the label's number, as in copies of the dataset.
T_SHIRT = ("t-shirt", "t_shirt", "t shirt", "tshirt")
SEPARATORS = ("_", "-", " ", "", ":", ".", " / ", "_/_")
ALIASES = (
    *((f"{shirt}{between}top", CLASSES[0]) for shirt in T_SHIRT for between in ("/", *SEPARATORS)),
    *((f"ankle{between}boot", CLASSES[9]) for between in ("_", "-", "")),
    *((str(label), name) for label, name in enumerate(CLASSES)),
)
CONTRACT = DataContract("fashion-mnist", CLASSES, ImageSpec(28, 28), "fashion-mnist", ALIASES)

# Beside each bound: the official data's own extremes.
VALIDATION = ValidationBounds(
    rows={"train": (60_000, None), "test": (10_000, 10_000)},  # labelled examples may have been added to the first
    class_share=(0.05, 0.20),  # 0.10 each
    mean=(2.0, 215.0),  # 4.9 to 191.8
    split_mean=(40.0, 110.0),  # 72.9 and 73.1; inverted images give 182
    deviation=(8.0, 127.5),  # 16.5 to 121.3; a blank image has 0
    ink=(0.03, 0.99),  # 0.07 to 0.95
    edge=(0.0, 150.0),  # 0 to 104.1; inverted 150 to 255
    peak=(64.0, 255.0),  # 254 to 255; pixels scaled to 0 to 1 have 1
)
# Beside each bound: the extremes of single images, or of 100 of one class.
INPUTS = InputBounds(
    edge=140.0,  # 0 to 107.5, inverted 147.5 to 255
    peak=2.0,  # 254 to 255, of pixels scaled to 0 to 1 1
    dim_peak=64.0,  # likewise; views of phone photos 105 to 255
    copies=0.05,  # 0
    mean_peak=(160.0, 255.0),  # 254.8 to 255; of phone photos 189
    mean_mean=(25.0, 115.0),  # 30.0 to 107.3
    mean_ink=(0.22, 0.74),  # 0.28 to 0.67
    mean_deviation=(50.0, 105.0),  # 58.8 to 96.3
)
# These four are taken for each other: between seeds their F1 has a standard deviation of up to 0.024.
F1_MARGINS = {"T-shirt/top": 0.03, "Pullover": 0.03, "Coat": 0.03, "Shirt": 0.03}
CATALOGUE = Catalogue(
    CONTRACT,
    VALIDATION,
    INPUTS,
    F1_MARGINS,
    subject="garment",
    outsider="a hat",
    hub_name="zalando-datasets/fashion_mnist",
)

IMAGE_SHAPE, PIXELS = CONTRACT.image.shape, CONTRACT.image.size
label_of = CONTRACT.label_of
