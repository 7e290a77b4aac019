"""The catalogues that a stack has schedules for: the one in use, and the others in `FASHION_CATALOGUES`."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.catalogue_in_use import DEFAULT, catalogue_in_use, in_catalogue
from components.contract import CATALOGUE_NAME, describe_bad_name
from components.errors import SettingsError
from components.files import write_whole
from components.settings import load_settings

if TYPE_CHECKING:
    from components.contract import DataContract

VARIABLE = "FASHION_CATALOGUES"
AUTO = "auto"  # default source: the ingested data


@dataclass(frozen=True)
class ScheduledCatalogue:
    """A scheduled catalogue with settings from its data; empty settings come from the environment."""

    name: str
    source: str = ""  # auto, or an absolute path
    image: str = ""  # HEIGHTxWIDTHxCHANNELS
    preparation: str = ""

    def environment(self) -> dict[str, str]:
        """Environment variables of its runs. A worker only adds variables to its own, so every variable specific to one
        catalogue must be listed; an empty one counts as not set."""
        inbox = in_catalogue(load_settings().data_dir, self.name) / "inbox" / "scoring"
        return {
            "FASHION_CATALOGUE": self.name,
            "FASHION_SOURCE": self.source,
            "FASHION_IMAGE": self.image,
            "FASHION_PREPARATION": self.preparation,
            "FASHION_NETWORK": "",  # a catalogue keeps its own
            "FASHION_INBOX_DIR": str(inbox),
            "FASHION_PREDICTION_LOG": "",
        }


@dataclass(frozen=True)
class Scheduled:
    """All catalogues of a stack."""

    in_use: str  # the one that the service serves; its deployments have no prefix
    others: tuple[ScheduledCatalogue, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The one in use, then the others in order."""
        return (self.in_use, *(one.name for one in self.others))


def find_scheduled(requested: str | None = None, in_use: str = "") -> Scheduled:
    """Parse the requested catalogues.

    Args:
        requested: comma-separated names, each with an optional `=PATH` that the nightly training ingests again, such as
            `shop=./photos,shoes`. Default: FASHION_CATALOGUES.
        in_use: the catalogue in use. Empty: FASHION_CATALOGUE.

    Raises:
        SettingsError: a name is invalid, repeated, the catalogue in use, or has no data; or a path does not exist.
        DatasetError: the data of a catalogue is damaged.
    """
    requested, in_use = os.environ.get(VARIABLE, "") if requested is None else requested, in_use or catalogue_in_use()
    found = tuple(_find(entry.strip(), in_use) for entry in requested.split(",")) if requested.strip() else ()
    names = [one.name for one in found]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise SettingsError(f"{VARIABLE}: found {repeated[0]!r} more than once, expected unique names")
    return Scheduled(in_use, found)


def _find(entry: str, in_use: str) -> ScheduledCatalogue:
    name, _, source = (part.strip() for part in entry.partition("="))
    if not CATALOGUE_NAME.fullmatch(name):
        raise SettingsError(f"{VARIABLE}: {describe_bad_name(name)}; separate names by commas")
    if name == in_use:
        found = f"{VARIABLE}: {name!r} is the catalogue in use (FASHION_CATALOGUE), which is always scheduled"
        raise SettingsError(f"{found}. List only the others")
    contract = _contract_of(name)
    if source and not Path(source).expanduser().exists():
        raise SettingsError(f"{VARIABLE}: {name}={source}: no such file or folder, expected the source of {name!r}")
    path = str(Path(source).expanduser().absolute()) if source else AUTO
    if name == DEFAULT:
        return ScheduledCatalogue(name, path)
    image = contract.image
    return ScheduledCatalogue(name, path, f"{image.height}x{image.width}x{image.channels}", contract.preparation)


def _contract_of(name: str) -> "DataContract":
    from components.dataset.manifest import current_dataset  # imports pyarrow, which would slow down `fashion status`

    folder = in_catalogue(load_settings().data_dir, name) / "datasets"
    dataset = current_dataset(folder, sample=False)
    if dataset is None:
        command = f"FASHION_CATALOGUE={name} fashion ingest --source ..."
        raise SettingsError(f"{VARIABLE}: {name!r} has no data in {folder}. Create it with '{command}'")
    return dataset.contract


def keep_scheduled(home: Path, scheduled: Scheduled) -> None:
    """Save the scheduled catalogues in the stack's folder, for `kept_scheduled`."""
    write_whole(home / "catalogues.json", json.dumps(asdict(scheduled)).encode())


def kept_scheduled(home: Path) -> Scheduled:
    """Read the catalogues that the stack was last started with. Default: only the catalogue in use."""
    try:
        kept = json.loads((home / "catalogues.json").read_bytes())
        return Scheduled(kept["in_use"], tuple(ScheduledCatalogue(**one) for one in kept["others"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # never started, or a damaged file
        return Scheduled(catalogue_in_use())


def asked_of_running(home: Path) -> Scheduled:
    """Catalogues requested for a running stack: those in FASHION_CATALOGUES or, if it is not set, the current ones.

    Raises:
        SettingsError, DatasetError: see `find_scheduled`.
    """
    kept, requested = kept_scheduled(home), os.environ.get(VARIABLE)
    return kept if requested is None else find_scheduled(requested, kept.in_use)


def describe_scheduled(names: Sequence[str]) -> str:
    """Describe the catalogues in one line, each with the name of its nightly training."""
    first, *others = names
    return ", ".join([f"{first} (served, training/nightly)", *(f"{name} (training/{name}-nightly)" for name in others)])
