"""Locations of data and sources of raw data. Each field is an environment variable with the prefix FASHION_."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import pydantic
import pydantic_settings
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from components.catalogue_in_use import DEFAULT, in_catalogue
from components.contract import CATALOGUE_NAME, ImageSpec, describe_bad_name
from components.errors import SettingsError
from components.paths import CHECKOUT as CHECKOUT
from components.paths import IS_INSTALLED, default_data_dir

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

S = TypeVar("S", bound=BaseSettings)
LIST = 'a list, as in ["https://example.com/fashion/"]'
# Pydantic's type of error -> what was expected, in plain words.
EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "tuple_type": f"JSON: {LIST}",
    "dict_type": 'JSON: names and numbers, as in {{"hat": 0.03}}',
}


class Settings(BaseSettings):
    """The project's settings. Models and the live-model pointer are in BENTOML_HOME, a setting of BentoML."""

    model_config = SettingsConfigDict(env_prefix="FASHION_", frozen=True)

    catalogue: str = DEFAULT  # the catalogue in use
    source: str = "auto"  # auto, sample, download, or a path; see docs/data.md
    data_dir: Path = pydantic.Field(default_factory=default_data_dir)
    image: Annotated[ImageSpec | None, NoDecode] = None  # of a new catalogue, e.g. 32x32x3; None: grey
    preparation: str = ""  # photo preparation of a new catalogue; empty: letterbox
    network: str = ""  # frozen network before the models of a new catalogue, see components/networks/sources.py
    inbox_dir: Path | None = None  # inbox for files to be scored; None: data_dir/inbox/scoring
    mirrors: tuple[str, ...] = ()  # base URLs of the four archives, as a JSON list; empty: torchvision's
    download_timeout: float = pydantic.Field(default=10.0, gt=0)  # seconds without data before an attempt is aborted
    download_attempts: int = pydantic.Field(default=3, ge=1)  # per archive, cycling through the mirrors

    @pydantic.field_validator("catalogue")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name and not CATALOGUE_NAME.fullmatch(name):
            raise ValueError(describe_bad_name(name))
        return name or DEFAULT

    @pydantic.field_validator("mirrors")
    @classmethod
    def _check_addresses(cls, mirrors: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [one for one in mirrors if "://" not in one]:
            raise ValueError(f"found {strange[0][:60]!r}, expected addresses, as in https://example.com/fashion/")
        return mirrors

    @pydantic.field_validator("image", mode="before")
    @classmethod
    def _read_image(cls, text: object) -> object:
        return (ImageSpec.parse(text) if text else None) if isinstance(text, str) else text

    @pydantic.field_validator("data_dir", "inbox_dir")
    @classmethod
    def _make_absolute(cls, path: Path | None) -> Path | None:
        if path is None:
            return None
        folder = Path(os.path.expanduser(path)).resolve()  # noqa: PTH111, which fails for an unknown ~user
        if folder.is_file():
            raise ValueError(f"found {str(path)!r}, a file, expected a folder")
        return folder

    @property
    def catalogue_dir(self) -> Path:
        """The data folder of the catalogue: `data_dir` for the default one, a subfolder for any other."""
        return in_catalogue(self.data_dir, self.catalogue)

    @property
    def raw_dir(self) -> Path:
        """Downloaded archives."""
        return self.data_dir / "raw"

    @property
    def sample_dir(self) -> Path:
        """Archives of the synthetic sample."""
        return self.data_dir / "sample"

    @property
    def datasets_dir(self) -> Path:
        """Dataset manifests and Parquet parts."""
        return self.catalogue_dir / "datasets"

    @property
    def validation_dir(self) -> Path:
        """Validation pages and Data Docs, one folder per dataset version and suite."""
        return self.catalogue_dir / "validation"

    @property
    def checkpoints_dir(self) -> Path:
        """Trainings in progress, and trained networks that are not yet in the store."""
        return self.catalogue_dir / "checkpoints"

    @property
    def inbox(self) -> Path:
        """The inbox for files to be scored."""
        return self.inbox_dir or self.catalogue_dir / "inbox" / "scoring"

    @property
    def labelled_dir(self) -> Path:
        """The inbox for labelled images and corrections to be imported."""
        return self.catalogue_dir / "inbox" / "labelled"

    @property
    def exports_dir(self) -> Path:
        """Exported models for phones and browsers."""
        return self.catalogue_dir / "exports"

    @property
    def audits_dir(self) -> Path:
        """Dataset audits, one folder per version."""
        return self.catalogue_dir / "audits"

    @property
    def neighbours_dir(self) -> Path:
        """Indexes of training images and of a catalogue, to find those near an image."""
        return self.catalogue_dir / "neighbours"

    @property
    def drift_path(self) -> Path:
        """Result of the last hourly drift check."""
        return self.catalogue_dir / "drift.json"

    @property
    def reports_dir(self) -> Path:
        """HTML reports, one per model."""
        return self.catalogue_dir / "reports"


def parse_image(text: str) -> ImageSpec:
    """Parse the `--image` option, which FASHION_IMAGE sets too, see `ImageSpec.parse`.

    Raises:
        SettingsError: the text is not a valid image format.
    """
    try:
        return ImageSpec.parse(text)
    except ValueError as error:
        raise SettingsError(f"FASHION_IMAGE or --image: {error}") from error


def load_settings() -> Settings:
    """Read the settings from the current environment.

    Raises:
        SettingsError: a variable has an invalid value; the message names it.
    """
    return read_settings(Settings)


def read_settings(kind: type[S]) -> S:
    """Read settings of a given class from the current environment.

    Raises:
        SettingsError: a variable has an invalid value; the message is one line that names it.
    """
    prefix = kind.model_config.get("env_prefix", "")
    try:
        return kind()
    except pydantic.ValidationError as error:
        raise SettingsError("; ".join(_describe(prefix, problem) for problem in error.errors())) from error
    except pydantic_settings.SettingsError as error:  # its message has the name of the field
        field = next(name for name in kind.model_fields if f'"{name}"' in str(error))
        variable = f"{prefix}{field}".upper()
        raise SettingsError(
            f"{variable}: found {os.environ.get(variable, '')[:60]!r}, expected JSON: {LIST}"
        ) from error


def _describe(prefix: str, problem: "ErrorDetails") -> str:
    """FASHION_GATE_MARGIN: found '2', expected at most 1"""
    kind, place = problem["type"], problem["loc"]
    if kind == "value_error":
        found = problem["msg"].removeprefix("Value error, ")
    elif kind in EXPECTED:
        found = f"found {str(problem['input'])[:60]!r}, expected {EXPECTED[kind].format(**problem.get('ctx', {}))}"
    else:
        found = f"found {str(problem['input'])[:60]!r}: {problem['msg']}"
    if not place:  # a contradiction between variables, which the message names
        return found
    inner = "".join(f" {one!r}:" for one in place[1:])
    return f"{prefix}{place[0]}".upper() + f":{inner} {found}"


def checkout_commit(checkout: Path = CHECKOUT) -> str:
    """The commit of a checkout, with "+changes" if tracked files are modified; "unknown" outside a repository."""
    if IS_INSTALLED:  # a repository around the environment is not this project's
        return "unknown"
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
