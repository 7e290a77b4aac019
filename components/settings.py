"""Where data lives and how the raw data is reached; each field is an environment variable with the prefix FASHION_."""

import os
import subprocess
from pathlib import Path
from typing import Annotated, TypeVar

import pydantic
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from components.catalogue_in_use import DEFAULT, in_catalogue
from components.contract import CATALOGUE_NAME, ImageSpec
from components.errors import SettingsError

CHECKOUT = Path(__file__).resolve().parents[1]
S = TypeVar("S", bound=BaseSettings)


class Settings(BaseSettings):
    """The project's settings. Models and the live-model pointer live in BENTOML_HOME, which is BentoML's own."""

    model_config = SettingsConfigDict(env_prefix="FASHION_", frozen=True)

    catalogue: str = pydantic.Field(default=DEFAULT, pattern=f"^{CATALOGUE_NAME.pattern}$")  # what is worked on
    source: str = "auto"  # auto, sample, download, or a path; see docs/data.md
    data_dir: Path = CHECKOUT / "data"
    image: Annotated[ImageSpec | None, NoDecode] = None  # of a catalogue that is started, as in 32x32x3; none: grey
    preparation: str = ""  # of its photos; empty: letterbox
    inbox_dir: Path | None = None  # where files to be scored are dropped; none: data_dir/inbox/scoring
    mirrors: tuple[str, ...] = ()  # base URLs of the four archives, as a JSON list; empty: torchvision's
    download_timeout: float = pydantic.Field(default=10.0, gt=0)  # seconds without a byte before an attempt ends
    download_attempts: int = pydantic.Field(default=3, ge=1)  # per archive, over all mirrors in turn

    @pydantic.field_validator("image", mode="before")
    @classmethod
    def _read_image(cls, text: object) -> object:
        return (ImageSpec.parse(text) if text else None) if isinstance(text, str) else text

    @pydantic.field_validator("data_dir", "inbox_dir")
    @classmethod
    def _make_absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.expanduser(path)).resolve()  # noqa: PTH111, which fails for an unknown ~user

    @property
    def catalogue_dir(self) -> Path:
        """What belongs to one catalogue: all of `data_dir` for the default one, a folder in it for any other."""
        return in_catalogue(self.data_dir, self.catalogue)

    @property
    def raw_dir(self) -> Path:
        """Downloaded archives."""
        return self.data_dir / "raw"

    @property
    def sample_dir(self) -> Path:
        """The drawn stand-in, as archives."""
        return self.data_dir / "sample"

    @property
    def datasets_dir(self) -> Path:
        """Manifests and Parquet parts."""
        return self.catalogue_dir / "datasets"

    @property
    def validation_dir(self) -> Path:
        """One folder of Data Docs a dataset version."""
        return self.catalogue_dir / "validation"

    @property
    def checkpoints_dir(self) -> Path:
        """Trainings in progress, and trained networks on their way to the store."""
        return self.catalogue_dir / "checkpoints"

    @property
    def inbox(self) -> Path:
        """Where files to be scored are dropped."""
        return self.inbox_dir or self.catalogue_dir / "inbox" / "scoring"

    @property
    def labelled_dir(self) -> Path:
        """Where labelled images and corrections wait to be imported."""
        return self.catalogue_dir / "inbox" / "labelled"

    @property
    def exports_dir(self) -> Path:
        """Models for phones and browsers."""
        return self.catalogue_dir / "exports"

    @property
    def audits_dir(self) -> Path:
        """What was found wrong with a dataset, one folder a version."""
        return self.catalogue_dir / "audits"

    @property
    def drift_path(self) -> Path:
        """Whether traffic has drifted, as the last hourly check found."""
        return self.catalogue_dir / "drift.json"

    @property
    def reports_dir(self) -> Path:
        """One HTML report a model."""
        return self.catalogue_dir / "reports"


def parse_image(text: str) -> ImageSpec:
    """What a person says of an image, see `ImageSpec.parse`.

    Raises:
        SettingsError: something else.
    """
    try:
        return ImageSpec.parse(text)
    except ValueError as error:
        raise SettingsError(f"--image: {error}") from error


def load_settings() -> Settings:
    """Read the settings from the environment now.

    Raises:
        SettingsError: a variable whose value cannot be used, by name.
    """
    return read_settings(Settings)


def read_settings(kind: type[S]) -> S:
    """Read settings of a kind from the environment now.

    Raises:
        SettingsError: a variable whose value cannot be used, by name.
    """
    prefix = kind.model_config.get("env_prefix", "")
    try:
        return kind()
    except (pydantic.ValidationError, ValueError) as error:
        problems = error.errors() if isinstance(error, pydantic.ValidationError) else []
        told = "; ".join(f"{prefix}{'.'.join(map(str, p['loc'])).upper()}: {p['msg']}" for p in problems)
        raise SettingsError(told or f"{error}; lists and tables are written as JSON") from error


def checkout_commit(checkout: Path = CHECKOUT) -> str:
    """The commit of a checkout, with "+changes" where tracked files differ from it; "unknown" where git knows none."""
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
