"""The named recipes."""

from dataclasses import dataclass, fields, replace
from typing import Any

from components.errors import SettingsError
from components.model.mlp import ModelConfig
from components.training.train import TrainConfig


@dataclass(frozen=True)
class Preset:
    """A recipe and where it comes from."""

    name: str
    origin: str
    config: TrainConfig


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="dense-128",
            origin="'Fashion MNIST Classification using Dense Neural Network': 784-128-10, 101,770 parameters",
            config=TrainConfig(model=ModelConfig(hidden=(128,)), epochs=10, batch_size=32, learning_rate=1e-3),
        ),
    )
}
DEFAULT = "dense-128"


def configure(preset: str, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """A preset's configuration with some fields replaced.

    Args:
        preset: its name.
        overrides: field of TrainConfig or ModelConfig -> value; None leaves the preset's.

    Raises:
        SettingsError: no such preset or field, or a value that cannot be used.
    """
    if preset not in PRESETS:
        raise SettingsError(f"preset: no {preset!r}; there are {', '.join(PRESETS)}")
    config = PRESETS[preset].config
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    of_model = {name: given.pop(name) for name in [field.name for field in fields(ModelConfig)] if name in given}
    unknown = given.keys() - {field.name for field in fields(TrainConfig)}
    if unknown:
        raise SettingsError(f"{', '.join(sorted(unknown))}: no such field of a training")
    return replace(config, model=replace(config.model, **of_model), **given)
