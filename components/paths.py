"""Paths of the code and of the files it reads, in a checkout and in an installed wheel.

A wheel has the files of the checkout's top level in `fashion/resources`: service.py, ui/, deploy/, bentofile.yaml,
prefect.yaml and requirements.lock.
"""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]  # folder of the packages: the checkout, or site-packages
_PACKAGED = CHECKOUT / "fashion" / "resources"
IS_INSTALLED = _PACKAGED.is_dir()  # from a wheel
RESOURCES = _PACKAGED if IS_INSTALLED else CHECKOUT  # folder of service.py, the argument of `bentoml serve`


def default_data_dir() -> Path:
    """The data folder unless FASHION_DATA_DIR is set: `data` in the checkout, or in the current folder for a wheel."""
    return (Path.cwd() if IS_INSTALLED else CHECKOUT) / "data"
