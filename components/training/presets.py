"""The presets: named training configurations."""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from components.catalogue_in_use import DEFAULT as OFFICIAL
from components.catalogue_in_use import in_catalogue
from components.contract import DataContract, Embedding, ImageSpec
from components.errors import SettingsError
from components.model.mlp import ModelConfig
from components.settings import Settings, load_settings
from components.training.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """A named training configuration and its origin."""

    name: str
    origin: str
    config: TrainConfig

    def layers(self, contract: DataContract) -> str:
        """Return the layer widths from input to output and the activation, such as "1440-128-3 relu"."""
        model = self.config.for_image(contract.input).model
        return f"{'-'.join(map(str, model.widths(contract)))} {model.activation}"

    def fields(self) -> dict[str, Any]:
        """Return the fields that can be overridden and their values."""
        config = asdict(self.config)
        return {**config.pop("model"), **config}


# Small layers train on one thread. A second thread is a third faster on an idle machine, but on a busy one the two spin
# while they wait for each other and an epoch takes thirty times as long. It also makes the weights independent of the
# number of cores.
DENSE_128 = TrainConfig(model=ModelConfig(hidden=(128,)), epochs=10, batch_size=32, threads=1)
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "ann-128x2",
            "'Neural_Network_Image_Recognition'",
            TrainConfig(
                model=ModelConfig(hidden=(128, 128)),
                epochs=10,
                batch_size=128,
                schedule="inverse-time",
                decay=1e-3,
                labels="one-hot",
                threads=1,
            ),
        ),
        Preset("dense-128", "'Fashion MNIST Classification using Dense Neural Network'", DENSE_128),
        Preset(
            "dense-dropout",
            "'Fashion MNIST Deep Learning Classifier'",
            TrainConfig(
                model=ModelConfig(hidden=(1024, 512), dropout=0.1),
                epochs=100,
                batch_size=512,
                learning_rate=2e-3,
                schedule="one-cycle",
                weight_decay=0.05,
                average=0.999,
                shift=1,
                flip=True,
                precision="auto",
            ),
        ),
        Preset(
            "mlp-512x256",
            "'Neural Network Image Classification'",
            TrainConfig(
                model=ModelConfig(hidden=(512, 256)), epochs=15, batch_size=64, labels="one-hot", validation_share=0.2
            ),
        ),
        Preset(
            "dense-128-logits",
            "'Fashion-MNIST Neural Classification'",
            replace(DENSE_128, epochs=20, validation_share=1 / 60),  # published on all 60,000 rows
        ),
        Preset(
            "quick",
            "this project: above 0.88 accuracy in seconds",
            TrainConfig(
                model=ModelConfig(hidden=(256,)),
                epochs=6,
                batch_size=128,
                learning_rate=3e-3,
                schedule="one-cycle",
                threads=1,
            ),
        ),
        Preset(
            "flagship",
            "this project: the first four layers train as convolutions (docs/training.md)",
            TrainConfig(
                model=ModelConfig(
                    hidden=(3136, 1568, 1568, 1024, 256), activation="gelu", batch_norm=True, dropout=0.2
                ),
                epochs=48,
                batch_size=512,
                learning_rate=3e-3,
                schedule="one-cycle",
                weight_decay=0.1,
                muon=0.02,
                average=0.998,
                label_smoothing=0.05,
                shift=1,
                flip=True,
                tied=(5, 3, 3, 3),
                strides=(2, 2, 1, 2),
                untied_learning_rate=2e-4,  # when it continues from another model
                precision="auto",
            ),
        ),
        Preset(
            "photos",
            "this project: for a few thousand photos of your own, with rare classes (docs/training.md)",
            TrainConfig(
                model=ModelConfig(hidden=(256,), activation="gelu", batch_norm=True, dropout=0.2),
                epochs=40,
                batch_size=64,
                learning_rate=3e-3,
                schedule="one-cycle",
                weight_decay=0.05,
                average=0.99,
                label_smoothing=0.05,
                flip=True,
                rotate=10,
                scale=0.15,
                translate=0.08,
                tied=(5, 5, 3),
                channels=(16, 48, 96),
                stratify=True,
                threads=1,
            ),
        ),
        Preset(
            "vectors",
            "this project: for the vectors of a frozen network (docs/training.md)",
            TrainConfig(
                model=ModelConfig(hidden=(512, 256), activation="gelu", batch_norm=True, dropout=0.3),
                epochs=40,
                batch_size=64,
                learning_rate=1e-3,
                schedule="one-cycle",
                weight_decay=0.05,
                average=0.99,
                label_smoothing=0.05,
                stratify=True,
                threads=1,
            ),
        ),
    )
}
DEFAULT = "dense-128"
OWN, OWN_WITH_NETWORK = "photos", "vectors"  # the same for a catalogue of one's own


def count_parameters(config: TrainConfig, contract: DataContract) -> int:
    """Return the number of weights and biases of the stored network."""
    widths = config.for_image(contract.input).model.widths(contract)
    return sum(before * after + after for before, after in pairwise(widths))


def configure(
    preset: str, overrides: dict[str, Any] | None = None, image: ImageSpec | Embedding | None = None
) -> TrainConfig:
    """Return a preset's configuration with some fields replaced.

    Args:
        preset: Name of the preset.
        overrides: Field of TrainConfig or ModelConfig -> value.
        image: What the models take, if known: pixels or vectors.

    Raises:
        SettingsError: The preset or a field is unknown, or a value is invalid or does not fit the images.
    """
    if preset not in PRESETS:
        raise SettingsError(f"preset: no {preset!r}; expected one of {', '.join(PRESETS)}")
    config = PRESETS[preset].config.with_overrides(overrides or {})
    if image:
        config.require_fit(image)
    return config


def default_preset(catalogue: str, settings: Settings | None = None) -> str:
    """What is trained if no preset is named.

    Args:
        catalogue: its name.
        settings: where the data is; None: from the environment.

    Raises:
        DatasetError: the data of the catalogue is damaged.
    """
    if catalogue == OFFICIAL:
        return DEFAULT
    from components.dataset.manifest import current_dataset  # imports pyarrow

    settings = settings or load_settings()
    dataset = current_dataset(in_catalogue(settings.data_dir, catalogue) / "datasets")
    if dataset:
        return OWN_WITH_NETWORK if dataset.contract.embedding else OWN
    return OWN_WITH_NETWORK if settings.network and catalogue == settings.catalogue else OWN
