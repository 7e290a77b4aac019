"""fashion.toml: settings in a file, for those who do not want them in the environment.

    catalogue = "shop"      FASHION_CATALOGUE
    [gate]
    margin = 0.005          FASHION_GATE_MARGIN
    [environment]
    BENTOML_HOME = "store"  BENTOML_HOME

Each value becomes an environment variable, unless that is set, so that every process a command starts has it too, and
each settings class reads both. The file is ./fashion.toml, or the one that FASHION_CONFIG names.
"""

import difflib
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import SettingsError

if TYPE_CHECKING:
    from pydantic import BaseModel

FILE = "fashion.toml"
VARIABLE = "FASHION_CONFIG"
TABLES = ("gate", "drift", "probation")
PATHS = frozenset(
    {
        "FASHION_DATA_DIR",
        "FASHION_INBOX_DIR",
        "FASHION_CORRECTIONS_DIR",
        "FASHION_REVIEW_DIR",
        "BENTOML_HOME",
        "PREFECT_HOME",
    }
)
NAMES_OR_PATHS = frozenset({"FASHION_SOURCE", "FASHION_NETWORK"})  # a path if there is such a file or folder
OTHERS = frozenset({"BENTOML_HOME", "PREFECT_HOME", "PREFECT_API_URL", "PORT", "PREFECT_PORT"})  # of [environment]
# Every FASHION_ variable; a test compares them with the settings classes.
NAMES = frozenset(
    f"FASHION_{name}"
    for name in [
        "CATALOGUE",
        "SOURCE",
        "DATA_DIR",
        "IMAGE",
        "PREPARATION",
        "NETWORK",
        "INBOX_DIR",
        "MIRRORS",
        "DOWNLOAD_TIMEOUT",
        "DOWNLOAD_ATTEMPTS",
        "CATALOGUES",
        "TOKEN",
        "FOLLOW",
        "WORKERS",
        "PREDICTION_LOG",
        "ALLOWED_HOSTS",
        "CORRECTIONS_DIR",
        "REVIEW_DIR",
        "REVIEW_IMAGES",
        "REVIEW_DAYS",
        "DEBUG",
        "QUIET",
        "NOTIFY_URL",
        "DASK_ADDRESS",
    ]
)
given = set[str]()  # the variables that the file set in this process


def read_settings_file() -> Path | None:
    """Set the variables that the settings file names and the environment does not. Returns the file, if one exists.

    Raises:
        SettingsError: the file cannot be read, or names something that is no setting.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named or FILE)
    if not path.is_file():
        if named:
            raise SettingsError(f"{VARIABLE}={named}: no such file")
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    for name, value in _flatten(path, content).items():
        text = _to_text(name, value, path.resolve().parent)
        if os.environ.setdefault(name, text) == text:
            given.add(name)
        else:
            print(f"note: {name} in the environment overrides {path}", file=sys.stderr)  # its value may be a secret
    return path


def _flatten(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    found = dict[str, Any]()
    for key, value in content.items():
        if key == "environment" and isinstance(value, dict):
            for name, inner in value.items():
                _require_known(path, name, OTHERS)
                found[name] = inner
        elif key in TABLES and isinstance(value, dict):
            for name, inner in value.items():
                variable = f"FASHION_{key}_{name}".upper()
                _require_known(path, variable, _names_of(key))
                found[variable] = inner
        else:
            _require_known(path, f"FASHION_{key.upper()}", NAMES)
            found[f"FASHION_{key.upper()}"] = value
    return found


def _names_of(table: str) -> frozenset[str]:
    from components.monitoring.drift.bounds import DriftBounds
    from components.probation.settings import ProbationSettings
    from components.promotion.bounds import GateBounds

    kinds: dict[str, type[BaseModel]] = {"gate": GateBounds, "drift": DriftBounds, "probation": ProbationSettings}
    return frozenset(f"FASHION_{table}_{field}".upper() for field in kinds[table].model_fields)


def _require_known(path: Path, name: str, known: frozenset[str]) -> None:
    if name in known:
        return
    close = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {_as_key(close[0])!r}?" if close else ""
    raise SettingsError(f"{path}: unknown setting {_as_key(name)!r}{hint}")


def _as_key(name: str) -> str:
    return name.removeprefix("FASHION_").lower() if name.startswith("FASHION_") else name


def _to_text(name: str, value: Any, folder: Path) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if name in PATHS or (name in NAMES_OR_PATHS and (folder / value).exists()):
        return str(folder / value)
    return value
