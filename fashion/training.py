"""What `fashion train`, `fashion sweep` and `fashion.train` share: checks before Prefect starts, and its start."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.sweep import Sweep
    from flows.training import TrainingResult


def check_training(preset: str, overrides: dict[str, Any], start_from: str = "") -> tuple[str, str]:
    """Check a training as far as that is possible without its data.

    Args:
        preset: name of the preset; empty: the catalogue's.
        overrides: field of the preset -> value.
        start_from: live, the name of a model, none, or empty.

    Returns:
        The name of the preset, and `start_from` with an exact tag for the name of a model.

    Raises:
        SettingsError: the preset or a field is unknown, or a value or a variable is invalid.
        ModelNotFound, ModelError: there is no such model to start from, or it is damaged.
        OSError: results cannot be written.
    """
    from components.catalogue_in_use import catalogue_in_use
    from components.files import require_writable
    from components.registry.names import resolve_tag
    from components.registry.store import check_stored, home
    from components.settings import load_settings
    from components.training.presets import configure, default_preset
    from components.training.starting import ANEW, LIVE

    preset = preset or default_preset(catalogue_in_use())
    configure(preset, overrides)
    require_writable(load_settings().data_dir, home())
    if start_from not in {"", LIVE, ANEW}:
        start_from = resolve_tag(start_from)
        check_stored(start_from)
    return preset, start_from


def open_training() -> "Callable[..., TrainingResult]":
    """Find or start a Prefect server, and return the flow `training`, whose import reads the server's address.

    Raises:
        StackError: the server does not respond or does not start.
        SettingsError: Prefect's settings are invalid.
    """
    from ops.server import use_server

    server = use_server()
    from flows.training import training

    import_module("great_expectations")  # for the validation, while the server starts
    server.wait()
    return training


def open_sweep() -> "Callable[..., Sweep]":
    """The same for the flow `sweep`."""
    from ops.server import use_server

    server = use_server()
    from flows.sweep import sweep

    server.wait()
    return sweep
