"""Example images for the web page: what a visitor without a photo at hand can click.

Fashion-MNIST's are the first test image of each class (MIT licence, Zalando SE), side by side in `examples.png`. A
model of the synthetic sample gets synthetic examples. Models of other catalogues have none, because the model store
holds no images.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from components.catalogues import fashion_mnist, sample
from components.contract import SAMPLE, Images

STRIP = Path(__file__).with_name("examples.png")


@lru_cache
def read_examples(catalogue: str, source: str) -> tuple[tuple[str, Images], ...]:
    """Return class name and image, uint8 (height, width), of each example; none for an unknown catalogue.

    Args:
        catalogue: Name of the model's catalogue.
        source: What the model was trained on, as in its card.
    """
    if catalogue != fashion_mnist.CONTRACT.name:
        return ()
    names = fashion_mnist.CLASSES
    if source == SAMPLE:
        images, labels = sample.draw(len(names), np.random.default_rng(0))
        return tuple((names[label], images[row]) for row, label in sorted(enumerate(labels), key=lambda one: one[1]))
    strip = np.asarray(Image.open(STRIP))
    return tuple(zip(names, np.split(strip, len(names), axis=1), strict=True))
