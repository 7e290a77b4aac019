"""The catalogues that a stack has schedules for: the one in use, and those that `FASHION_CATALOGUES` names besides."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.catalogue_in_use import DEFAULT, catalogue_in_use, in_catalogue
from components.contract import CATALOGUE_NAME
from components.errors import SettingsError
from components.files import write_whole
from components.settings import load_settings

if TYPE_CHECKING:
    from components.contract import DataContract

VARIABLE = "FASHION_CATALOGUES"
AUTO = "auto"  # the source of one that is given none: what is ingested already


@dataclass(frozen=True)
class ScheduledCatalogue:
    """A catalogue with schedules, as its data say; the empty settings of the one in use are the environment's."""

    name: str
    source: str = ""  # auto, or an absolute path
    image: str = ""  # HEIGHTxWIDTHxCHANNELS
    preparation: str = ""

    def environment(self) -> dict[str, str]:
        """What its runs are told. A worker adds these to its own variables and removes none, so that each that is about
        one catalogue has to be here; an empty one counts as not set."""
        inbox = in_catalogue(load_settings().data_dir, self.name) / "inbox" / "scoring"
        return {
            "FASHION_CATALOGUE": self.name,
            "FASHION_SOURCE": self.source,
            "FASHION_IMAGE": self.image,
            "FASHION_PREPARATION": self.preparation,
            "FASHION_INBOX_DIR": str(inbox),
            "FASHION_PREDICTION_LOG": "",
        }


@dataclass(frozen=True)
class Scheduled:
    """All catalogues of a stack."""

    in_use: str  # whose model the service serves, and whose deployments have plain names
    others: tuple[ScheduledCatalogue, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The one in use, and the others as they were named."""
        return (self.in_use, *(one.name for one in self.others))


def find_scheduled(asked: str | None = None, in_use: str = "") -> Scheduled:
    """The catalogues that are asked for.

    Args:
        asked: names with commas between them, each with `=PATH` behind it where a nightly training is to read its
            source again, `shop=./photos,shoes`; None: FASHION_CATALOGUES.
        in_use: the catalogue in use; empty: as FASHION_CATALOGUE says.

    Raises:
        SettingsError: one is no name, named twice, the one in use, or was never started; or a path is none.
        DatasetError: its data are damaged.
    """
    asked, in_use = os.environ.get(VARIABLE, "") if asked is None else asked, in_use or catalogue_in_use()
    found = tuple(_find(entry.strip(), in_use) for entry in asked.split(",")) if asked.strip() else ()
    names = [one.name for one in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SettingsError(f"{VARIABLE}: {twice[0]!r} is named twice; once is enough")
    return Scheduled(in_use, found)


def _find(entry: str, in_use: str) -> ScheduledCatalogue:
    name, _, source = (part.strip() for part in entry.partition("="))
    if not CATALOGUE_NAME.fullmatch(name):
        expected = "expected names of catalogues, up to 40 small letters, digits and hyphens each, with commas between"
        raise SettingsError(f"{VARIABLE}: {name[:60]!r}; {expected}")
    if name == in_use:
        told = f"{VARIABLE}: {name!r} is the catalogue in use (FASHION_CATALOGUE), which has its schedules already"
        raise SettingsError(f"{told}; name the others")
    contract = _contract_of(name)
    if source and not Path(source).expanduser().exists():
        raise SettingsError(f"{VARIABLE}: {name}={source}: no such file or folder; expected the source of {name!r}")
    path = str(Path(source).expanduser().absolute()) if source else AUTO
    if name == DEFAULT:
        return ScheduledCatalogue(name, path)
    image = contract.image
    return ScheduledCatalogue(name, path, f"{image.height}x{image.width}x{image.channels}", contract.preparation)


def _contract_of(name: str) -> "DataContract":
    from components.dataset.manifest import current_dataset  # with pyarrow, which `fashion status` need not wait for

    folder = in_catalogue(load_settings().data_dir, name) / "datasets"
    dataset = current_dataset(folder, sample=False)
    if dataset is None:
        begin = f"FASHION_CATALOGUE={name} fashion ingest --source ..."
        raise SettingsError(f"{VARIABLE}: {name!r} has no data in {folder}; '{begin}' starts a catalogue")
    return dataset.contract


def keep_scheduled(home: Path, scheduled: Scheduled) -> None:
    """Write them down in a stack's folder, for `kept_scheduled`."""
    write_whole(home / "catalogues.json", json.dumps(asdict(scheduled)).encode())


def kept_scheduled(home: Path) -> Scheduled:
    """Those that the stack was started with last; where it does not say, the catalogue in use alone."""
    try:
        kept = json.loads((home / "catalogues.json").read_bytes())
        return Scheduled(kept["in_use"], tuple(ScheduledCatalogue(**one) for one in kept["others"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # none was started, or the file is damaged
        return Scheduled(catalogue_in_use())


def asked_of_running(home: Path) -> Scheduled:
    """Those that a stack which runs is to have: as FASHION_CATALOGUES says, and where it is not set, as they are.

    Raises:
        SettingsError, DatasetError: see `find_scheduled`.
    """
    kept, asked = kept_scheduled(home), os.environ.get(VARIABLE)
    return kept if asked is None else find_scheduled(asked, kept.in_use)


def describe_scheduled(names: Sequence[str]) -> str:
    """One line for a person: each catalogue with the name of its nightly training."""
    first, *others = names
    return ", ".join([f"{first} (served, training/nightly)", *(f"{name} (training/{name}-nightly)" for name in others)])
