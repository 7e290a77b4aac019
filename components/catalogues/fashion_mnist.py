"""The Fashion-MNIST catalogue (arXiv:1708.07747)."""

from dataclasses import replace

from components.catalogues.catalogue import (
    ArchiveChecksums,
    Catalogue,
    InputBounds,
    OfficialArchives,
    QualityFloors,
    ValidationBounds,
)
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
# Common spellings of the two names that are not single words, in folders and cells. Folders may also be named by label
# number, as in some copies of the dataset.
T_SHIRT = ("t-shirt", "t - shirt", "t_shirt", "t shirt", "tshirt")
SEPARATORS = ("_", "-", " ", "", ":", ".", " / ", "_/_")
ALIASES = (
    *((f"{shirt}{between}top", CLASSES[0]) for shirt in T_SHIRT for between in ("/", *SEPARATORS)),
    *((f"ankle{between}boot", CLASSES[9]) for between in ("_", "-", "")),
    *((str(label), name) for label, name in enumerate(CLASSES)),
)
CONTRACT = DataContract("fashion-mnist", CLASSES, ImageSpec(28, 28), "fashion-mnist-2", ALIASES)
FIRST_CONTRACT = replace(CONTRACT, preparation="fashion-mnist")  # of datasets and models older than contracts

# The comment after each bound gives the extremes of the official data.
VALIDATION = ValidationBounds(
    min_rows=100,
    rows={"train": (60_000, None), "test": (10_000, 10_000)},  # labelled examples may be added to the training split
    class_share=(0.05, 0.20),  # 0.10 each
    mean=(2.0, 215.0),  # 4.9 to 191.8
    split_mean=(40.0, 110.0),  # 72.9 and 73.1; inverted images give 182
    deviation=(8.0, 127.5),  # 16.5 to 121.3; a blank image has 0
    ink=(0.03, 0.99),  # 0.07 to 0.95
    edge=(0.0, 150.0),  # 0 to 104.1; inverted 150 to 255
    peak=(64.0, 255.0),  # 254 to 255; pixels scaled to 0 to 1 have 1
    contrast=None,  # covered by the deviation
)
# The comment after each bound gives the extremes of single images, or of 100 images of one class.
INPUTS = InputBounds(
    edge=140.0,  # 0 to 107.5, inverted 147.5 to 255
    peak=2.0,  # 254 to 255; pixels scaled to 0 to 1 have 1
    dim_peak=64.0,  # 254 to 255; views of phone photos 105 to 255
    copies=0.05,  # 0
    mean_peak=(160.0, 255.0),  # 254.8 to 255; phone photos have 189
    mean_mean=(25.0, 115.0),  # 30.0 to 107.3
    mean_ink=(0.22, 0.74),  # 0.28 to 0.67
    mean_deviation=(50.0, 105.0),  # 58.8 to 96.3
)
# These four classes are often confused: the standard deviation of their F1 across seeds is up to 0.024.
F1_MARGINS = {"T-shirt/top": 0.03, "Pullover": 0.03, "Coat": 0.03, "Shirt": 0.03}
FLOORS = QualityFloors(
    min_accuracy=0.8,  # the simplest published preset reaches 0.87, logistic regression 0.84
    min_f1=0.5,  # the hardest class has 0.65 to 0.79 with our presets; guessing has 0.1
    max_loss=0.6,  # guessing has 2.3; our presets 0.21 to 0.36
    max_calibration_error=0.05,  # our presets have 0.004 to 0.012
)
CATALOGUE = Catalogue(
    CONTRACT,
    VALIDATION,
    INPUTS,
    F1_MARGINS,
    FLOORS,
    subject="garment",
    outsider="a hat",
    hub_name="zalando-datasets/fashion_mnist",
    profiled=False,
)

OFFICIAL = OfficialArchives(
    CONTRACT,
    title="Fashion-MNIST",
    licence="MIT, Copyright (c) 2017 Zalando SE, https://tech.zalando.com",
    # From the dataset's README (github.com/zalandoresearch/fashion-mnist). A test compares checksums and mirrors with
    # torchvision's.
    checksums={
        "train-images-idx3-ubyte.gz": ArchiveChecksums(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        "train-labels-idx1-ubyte.gz": ArchiveChecksums(
            "25c81989df183df01b3e8a0aad5dffbe",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        "t10k-images-idx3-ubyte.gz": ArchiveChecksums(
            "bef4ecab320f06d8554ea6380940ec79",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        "t10k-labels-idx1-ubyte.gz": ArchiveChecksums(
            "bb300cfdad3c16e7a12a480ee83cd310",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    },
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    places=(
        "raw",  # torchvision
        "FashionMNIST/raw",
        "fashion-mnist",  # Keras
        "datasets/fashion-mnist",
        "fashion_mnist",  # Hugging Face
        "data",
        "snapshots/*/fashion_mnist",
        "data/fashion",  # the dataset's own repository
    ),
)
