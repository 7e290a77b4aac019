"""Every field of a training configuration: accepted and rejected values, and the presets."""

import dataclasses
import itertools
from typing import Any

import pytest
from networks import contract_with, embedding_of, make_network
from shop import SHOP
from trainings import one_thread  # noqa: F401, for every test here

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import DataContract, ImageSpec, Validated
from components.errors import SettingsError
from components.model.mlp import MLP, ModelConfig
from components.training.config import MAX_MEGABYTES, OF_PIXELS, TrainConfig
from components.training.presets import PRESETS, configure, count_parameters
from components.training.tied import TiedMLP
from components.training.train import build, train

NAN, INFINITE = float("nan"), float("inf")
# field -> invalid values, as decoded from JSON
INVALID: dict[str, list[Any]] = {
    "hidden": [[0], [-1], [16_385], [8.0], [True], ["8"], [None], "8", 8, None],
    "activation": ["tanh", "ReLU", "", None, 1],
    "batch_norm": [1, "true", None],
    "dropout": [1.0, -0.1, NAN, "0.1", True, None],
    "epochs": [0, -1, 2.0, 2.5, "2", True, None],
    "batch_size": [0, -1, 32.0, "32", True, None],
    "patience": [0, -1, 2.0, "2", True],
    "learning_rate": [0.0, -1e-3, 1.5, NAN, INFINITE, "0.1", True, None],
    "schedule": ["cosine", "", None, 1],
    "decay": [0.1, -0.1, 1.5, NAN, "0.1", True, None],  # 0.1 with the constant schedule does nothing
    "muon": [-0.1, 1.5, NAN, "0.1", True, None],
    "weight_decay": [-0.1, 1.5, NAN, "0.1", True, None],
    "average": [1.0, -0.1, NAN, "0.9", True, None],
    "labels": ["onehot", "", None, 1],
    "label_smoothing": [1.0, -0.1, NAN, "0.1", True, None],
    "shift": [-1, 5, 1.0, "1", True, None],
    "flip": [1, "true", None],
    "erase": [-0.1, 1.1, NAN, "0.1", True, None],
    "rotate": [-1.0, 45.5, NAN, "10", True, None],
    "scale": [-0.1, 0.6, NAN, "0.1", True, None],
    "translate": [-0.1, 0.3, NAN, "0.1", True, None],
    "brightness": [-0.1, 0.95, NAN, "0.1", True, None],
    "colour": [-0.1, 0.95, NAN, "0.1", True, None],
    "balance": [-0.1, 1.1, NAN, "0.5", True],
    "start_from": [1, None, True],
    "tied": [[3], [3.0], [True], "3", 3, None],  # [3] needs batch_norm
    "channels": [[16], [16.0], [True], "16", 16, None],  # [16] needs tied
    "strides": [[2], [2.0], [True], "2", 2, None],  # [2] needs tied
    "untied_epochs": [-1, 5, 1.0, "1", True, None],  # 5 needs tied
    "untied_learning_rate": [0.0, -1e-3, 1.5, NAN, "0.1", True, None],
    "validation_share": [0.0, 0.5, 1.0, -0.1, NAN, "0.1", True, None],
    "stratify": [1, "true", None],
    "seed": [-1, 2**63, 1.0, "1", True, None],
    "precision": ["float16", "", None, 32],
    "device": ["tpu", "", None, 0],
    "threads": [0, 257, 1.5, "two", True],
}


def names_of(*kinds: type) -> set[str]:
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def test_every_field_has_invalid_values_above() -> None:
    assert INVALID.keys() == names_of(ModelConfig, TrainConfig) - {"model"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID.items() for value in values])
def test_an_invalid_value_is_refused_with_the_name_of_its_field(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        configure("dense-128", {name: value})


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"tied": [4, 3]}, "^tied: kernel size 4; expected an odd number"),
        ({"tied": [0, 3]}, "^tied: kernel size 0; expected an odd number"),
        ({"tied": [1, 3]}, "^tied: kernel size 1; expected an odd number of pixels from 3"),
        ({"tied": [-1, 3]}, "^tied: kernel size -1; expected an odd number"),
        (
            {"tied": [100_001, 3]},
            "^tied: kernel size 100001",
        ),  # 40 GB a channel, of which 55 x 55 weights see a pixel
        ({"hidden": [1568], "tied": [5, 3]}, "^tied: 2 layers; expected at most 1, as in hidden"),
        ({"hidden": [1568, 1567, 512]}, "^hidden: 1567 units in a tied layer; expected a multiple of 7 x 7"),
        ({"hidden": [100, 1568, 512]}, "^hidden: 100 units in a tied layer; expected a multiple of 14 x 14"),
        ({"channels": [16]}, "^channels: 1 layers; expected 2, as in tied"),
        ({"channels": [16, 0]}, r"^channels: \(16, 0\); expected each to be 1 to 512"),
        ({"channels": [16, 513]}, r"^channels: \(16, 513\); expected each to be 1 to 512"),
        ({"strides": [2]}, "^strides: 1 layers; expected 2, as in tied"),
        ({"strides": [2, 0]}, r"^strides: \(2, 0\); expected each to be 1 to 4"),
        ({"strides": [5, 1]}, r"^strides: \(5, 1\); expected each to be 1 to 4"),
        ({"strides": [3, 2]}, "^hidden: 1568 units in a tied layer; expected a multiple of 10 x 10"),
        ({"batch_norm": False}, r"^tied: \(5, 3\); expected none without batch_norm"),
        ({"untied_epochs": -1}, "^untied_epochs: -1"),
        ({"batch_size": 1}, "^batch_size: 1; expected .* with batch_norm 2 or more"),
    ],
)
def test_incompatible_settings_are_refused(overrides: dict[str, Any], reason: str) -> None:
    tied = {"hidden": [1568, 1568, 512], "batch_norm": True, "tied": [5, 3], "untied_epochs": 2}
    assert configure("dense-128", tied, CONTRACT.image).tied == (5, 3)
    with pytest.raises(SettingsError, match=reason):
        configure("dense-128", {**tied, **overrides}, CONTRACT.image)


@pytest.mark.parametrize("name", ["momentum", "model", "Epochs", ""])
def test_an_unknown_field_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: no such training setting.*average, balance, .*weight_decay$"):
        configure("dense-128", {name: 0.9})


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'dense-129'.*dense-128.*flagship"):
        configure("dense-129")


def test_the_bounds_are_inclusive() -> None:
    least = {"epochs": 1, "batch_size": 1, "patience": 1, "seed": 0, "hidden": [1], "erase": 0, "learning_rate": 1e-9}
    most = {"shift": 4, "erase": 1, "weight_decay": 1, "learning_rate": 1, "seed": 2**63 - 1, "hidden": [16_384]}
    most |= {"rotate": 45, "scale": 0.5, "translate": 0.25, "brightness": 0.9, "colour": 0.9, "balance": 1}
    others: list[dict[str, Any]] = [{"hidden": []}, {"patience": None}]
    for overrides in (least, most, *others):
        assert configure("dense-128", overrides)


def test_overrides_replace_only_the_given_fields() -> None:
    config = configure("dense-128", {"epochs": 3, "hidden": [8]})
    assert config == dataclasses.replace(PRESETS["dense-128"].config, epochs=3, model=ModelConfig(hidden=(8,)))


def test_lists_from_json_become_tuples() -> None:
    assert TrainConfig(model=ModelConfig(hidden=[4])) == TrainConfig(model=ModelConfig(hidden=(4,)))  # type: ignore[arg-type]
    given = {"hidden": [196], "batch_norm": True, "tied": [3]}
    assert configure("dense-128", given).tied == (3,)


# --- the presets ---


@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    [
        ("ann-128x2", "784-128-128-10 relu", 118_282),
        ("dense-128", "784-128-10 relu", 101_770),
        ("mlp-512x256", "784-512-256-10 relu", 535_818),
        ("dense-128-logits", "784-128-10 relu", 101_770),
    ],
)
def test_a_published_preset_has_the_published_layers(name: str, layers: str, parameters: int) -> None:
    preset = PRESETS[name]
    assert (preset.layers(CONTRACT), count_parameters(preset.config, CONTRACT)) == (layers, parameters)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        (
            "ann-128x2",
            {"labels": "one-hot", "schedule": "inverse-time", "decay": 1e-3, "batch_size": 128, "epochs": 10},
        ),
        ("dense-128", {"labels": "integer", "schedule": "constant", "batch_size": 32, "epochs": 10}),
        ("dense-dropout", {"labels": "integer", "activation": "relu"}),
        ("mlp-512x256", {"labels": "one-hot", "batch_size": 64, "epochs": 15, "validation_share": 0.2}),
        ("dense-128-logits", {"labels": "integer", "schedule": "constant", "batch_size": 32, "epochs": 20}),
    ],
)
def test_a_published_preset_has_the_published_settings(name: str, published: dict[str, Any]) -> None:
    fields = PRESETS[name].fields()
    assert {field: fields[field] for field in published} == published
    assert fields["learning_rate"] == 1e-3 or name == "dense-dropout"  # its source does not state the rate


def test_dense_dropout_uses_dropout() -> None:
    assert PRESETS["dense-dropout"].config.model.dropout > 0


def test_every_preset_is_listed_under_its_name_with_all_its_fields() -> None:
    assert {
        "ann-128x2",
        "dense-128",
        "dense-dropout",
        "mlp-512x256",
        "dense-128-logits",
        "quick",
        "flagship",
        "photos",
    } <= set(PRESETS)
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert preset.origin
        assert preset.fields().keys() == INVALID.keys()
        assert configure(name, preset.fields()) == preset.config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_on_the_synthetic_sample(validated: Validated, name: str) -> None:
    config = configure(name, {"epochs": 1, "untied_epochs": min(1, PRESETS[name].config.untied_epochs)})
    trained = train(validated, config)
    assert [epoch.number for epoch in trained.history] == list(range(1, config.total_epochs + 1))
    widths = (784, *config.for_image(CONTRACT.image).model.hidden, 10)
    shapes = [shape for before, after in itertools.pairwise(widths) for shape in ((after, before), (after,))]
    assert [tuple(weight.shape) for weight in trained.network.state_dict().values()] == shapes
    assert sum(weight.numel() for weight in trained.network.parameters()) == count_parameters(config, CONTRACT)
    assert type(trained.network) is MLP


def test_tied_layers_must_fit_the_images() -> None:
    tied = {"hidden": [240, 30], "batch_norm": True, "tied": [3, 3]}
    assert configure("dense-128", tied, SHOP.image)
    with pytest.raises(SettingsError, match="hidden: 100 units in a tied layer; expected a multiple of 10 x 12"):
        configure("dense-128", {**tied, "hidden": [100, 30]}, SHOP.image)
    with pytest.raises(SettingsError, match=r"tied: kernel size 21; expected .* from 3 to 20"):
        configure("dense-128", {**tied, "tied": [21]}, SHOP.image)
    with pytest.raises(SettingsError, match="hidden: 784 units in a tied layer; expected a multiple of 10 x 12"):
        build(configure("dense-128", {**tied, "hidden": [784, 49]}), SHOP)
    preset = PRESETS["dense-128"]
    assert preset.layers(SHOP) == "1440-128-3 relu"
    assert count_parameters(preset.config, SHOP) == 1440 * 128 + 128 + 128 * 3 + 3


# --- widths that depend on the image, and networks that are too large ---

LEAST, MOST = ImageSpec(8, 8), ImageSpec(64, 64, 3)


@pytest.mark.parametrize("image", [LEAST, ImageSpec(8, 64, 3), SHOP.image, CONTRACT.image, ImageSpec(32, 32, 3), MOST])
@pytest.mark.parametrize("classes", [2, 1000])
def test_the_photos_preset_fits_every_contract(image: ImageSpec, classes: int) -> None:
    contract = DataContract("any", tuple(f"class {number}" for number in range(classes)), image, "garment")
    config = configure("photos", image=image)
    assert isinstance(build(config, contract), TiedMLP)
    hidden = 4 * (count_parameters(config, contract) - classes * (config.model.hidden[-1] + 1)) / 1e6
    assert hidden < MAX_MEGABYTES * 1.01, "biases are not counted"


def test_channels_become_units_that_depend_on_the_image_size() -> None:
    config = TrainConfig(
        model=ModelConfig(hidden=(512,), batch_norm=True), tied=(5, 3), channels=(16, 48), untied_epochs=1
    )
    assert config.for_image(CONTRACT.image).model.hidden == (16 * 14 * 14, 48 * 7 * 7, 512)
    assert config.for_image(SHOP.image).model.hidden == (16 * 10 * 12, 48 * 5 * 6, 512)
    assert config.for_image(LEAST).model.hidden == (16 * 4 * 4, 48 * 2 * 2, 512)
    units = dataclasses.replace(config, model=dataclasses.replace(config.model, hidden=(3136, 2352, 512)), channels=())
    assert config.for_image(CONTRACT.image) == units
    assert units.for_image(MOST) is units
    assert config.for_image(CONTRACT.image).phases()[1].model.hidden == (3136, 2352, 512)


def test_a_large_image_is_averaged_down_and_the_first_layer_gets_fewer_channels() -> None:
    config = TrainConfig(model=ModelConfig(hidden=(512,), batch_norm=True), tied=(5, 3), channels=(16, 48))
    first, second, dense = config.for_image(MOST).model.hidden
    assert (second, dense) == (48 * 8 * 8, 512), "the same as for 32 x 32"
    assert (first % (16 * 16), first // (16 * 16)) == (0, 7)
    config.require_fit(MOST)


def test_a_network_that_is_too_large_is_refused_with_its_size_and_what_fits() -> None:
    message = r"^hidden: \(16384, 512\) with images of 64 x 64 x 3 is 839 MB of weights, expected at most 128\. Use s"
    with pytest.raises(SettingsError, match=message) as refused:
        configure("dense-128", {"hidden": [16384, 512]}, MOST)
    fitting = int(str(refused.value).split(" at most ")[-1].split()[0].replace(",", ""))
    assert configure("dense-128", {"hidden": [fitting, 512]}, MOST)
    with pytest.raises(SettingsError, match="MB of weights"):
        configure("dense-128", {"hidden": [fitting + 1, 512]}, MOST)
    with pytest.raises(SettingsError, match=r"Use smaller images or narrower layers$"):
        configure("dense-128", {"hidden": [16, 16384, 16384]}, LEAST)


def test_the_suggested_units_of_a_tied_layer_are_a_whole_number_of_channels() -> None:
    tied = {"hidden": [4096, 3072], "batch_norm": True, "tied": [5, 3]}
    with pytest.raises(SettingsError, match=r"252 MB .* or at most 2,048 units in the first layer$"):
        configure("dense-128", tied, MOST)
    assert configure("dense-128", {**tied, "hidden": [2048, 3072]}, MOST)


@pytest.mark.parametrize("image", [SHOP.image, ImageSpec(32, 32, 3), MOST])
def test_the_flagship_is_refused_for_images_that_its_layers_do_not_fit(image: ImageSpec) -> None:
    with pytest.raises(SettingsError, match=r"^hidden: 3136 units in a tied layer; expected a multiple of"):
        configure("flagship", image=image)


def test_the_epochs_of_both_phases_are_counted_and_named() -> None:
    config = dataclasses.replace(PRESETS["flagship"].config, epochs=40, untied_epochs=8)
    assert config.describe_epochs() == "48 epochs (40 tied, then 8 untied)"
    assert [config.place(epoch) for epoch in (1, 40, 41, 48)] == [
        "1 of 48 (tied 1 of 40)",
        "40 of 48 (tied 40 of 40)",
        "41 of 48 (untied 1 of 8)",
        "48 of 48 (untied 8 of 8)",
    ]
    assert (TrainConfig().describe_epochs(), TrainConfig().place(3)) == ("10 epochs", "3 of 10")
    assert dataclasses.replace(config, start_from="fashion-mlp:before").describe_epochs() == "8 epochs"


# --- on vectors ---

EMBEDDING = embedding_of(make_network())


def test_vectors_is_trained_on_vectors() -> None:
    config = configure("vectors", image=EMBEDDING)
    assert count_parameters(config, contract_with(EMBEDDING)) == 48 * 512 + 512 + 512 * 256 + 256 + 256 * 2 + 2
    network = build(config, contract_with(EMBEDDING))
    assert isinstance(network, MLP)
    assert config.for_image(EMBEDDING) is config


@pytest.mark.parametrize(
    "fields",
    [
        {"shift": 1},
        {"flip": True},
        {"erase": 0.1},
        {"rotate": 5.0},
        {"scale": 0.1},
        {"translate": 0.1},
        {"brightness": 0.1},
        {"colour": 0.1},
        {"tied": [3], "batch_norm": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_settings_of_pixels_are_refused_on_vectors_by_name(fields: dict[str, Any]) -> None:
    name = next(iter(fields))
    with pytest.raises(SettingsError, match=rf"^{name}: .*; expected none, .* take vectors; the preset 'vectors' fits"):
        configure("vectors", fields, EMBEDDING)


def test_every_setting_of_pixels_is_known() -> None:
    """A new augmentation must be refused on vectors, where it would do nothing."""
    of_layers = {"start_from", "untied_epochs", "untied_learning_rate"}
    of_training = {"model", "epochs", "batch_size", "patience", "learning_rate", "schedule", "decay", "weight_decay"}
    of_training |= {"muon", "average", "labels", "label_smoothing", "balance", "validation_share", "stratify", "seed"}
    of_machines = {"precision", "device", "threads"}
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert fields == {*OF_PIXELS} | of_layers | of_training | of_machines


@pytest.mark.parametrize("preset", ["photos", "flagship"])
def test_presets_for_pixels_are_refused_on_vectors(preset: str) -> None:
    with pytest.raises(SettingsError, match="the preset 'vectors' fits"):
        configure(preset, image=EMBEDDING)


def test_a_network_that_is_too_large_for_vectors_is_refused() -> None:
    with pytest.raises(SettingsError, match=f"{MAX_MEGABYTES}"):
        configure("vectors", {"hidden": [16_384, 16_384]}, EMBEDDING)
