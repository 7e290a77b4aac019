"""Outside representations of an image, to and from uint8 (n, 28, 28): IDX archives, CSV of pixels, photos."""
