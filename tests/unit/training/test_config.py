"""Every field of a recipe: what is taken, what is refused and how, and the recipes themselves."""

import dataclasses
import itertools
from typing import Any

import pytest
from shop import SHOP
from trainings import one_thread  # noqa: F401, for every test here

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Validated
from components.errors import SettingsError
from components.model.mlp import MLP, ModelConfig
from components.training.config import TrainConfig
from components.training.presets import PRESETS, configure, count_parameters
from components.training.train import build, train

NAN, INFINITE = float("nan"), float("inf")
# field -> values that no recipe takes, as JSON has them
REFUSED: dict[str, list[Any]] = {
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
    "weight_decay": [-0.1, 1.5, NAN, "0.1", True, None],
    "average": [1.0, -0.1, NAN, "0.9", True, None],
    "labels": ["onehot", "", None, 1],
    "label_smoothing": [1.0, -0.1, NAN, "0.1", True, None],
    "shift": [-1, 5, 1.0, "1", True, None],
    "flip": [1, "true", None],
    "erase": [-0.1, 1.1, NAN, "0.1", True, None],
    "tied": [[3], [3.0], [True], "3", 3, None],  # [3] needs batch_norm
    "untied_epochs": [-1, 5, 1.0, "1", True, None],  # 5 needs tied
    "untied_learning_rate": [0.0, -1e-3, 1.5, NAN, "0.1", True, None],
    "validation_share": [0.0, 0.5, 1.0, -0.1, NAN, "0.1", True, None],
    "seed": [-1, 2**63, 1.0, "1", True, None],
    "precision": ["float16", "", None, 32],
    "device": ["tpu", "", None, 0],
    "threads": [0, 257, 1.5, "two", True],
}


def names_of(*kinds: type) -> set[str]:
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def test_every_field_has_a_value_here_that_is_refused() -> None:
    assert REFUSED.keys() == names_of(ModelConfig, TrainConfig) - {"model"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_a_bad_value_is_refused_by_the_name_of_its_field(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        configure("dense-128", {name: value})


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"tied": [4, 3]}, "^tied: a kernel of 4; expected an odd number"),
        ({"tied": [0, 3]}, "^tied: a kernel of 0; expected an odd number"),
        ({"tied": [-1, 3]}, "^tied: a kernel of -1; expected an odd number"),
        ({"tied": [100_001, 3]}, "^tied: a kernel of 100001"),  # 40 GB a channel, of which 55 x 55 can see a pixel
        ({"hidden": [1568], "tied": [5, 3]}, "^tied: 2 layers, but hidden has 1"),
        ({"hidden": [1568, 1567, 512]}, "^hidden: 1567 units where tied asks for a multiple of 7 x 7"),
        ({"hidden": [100, 1568, 512]}, "^hidden: 100 units where tied asks for a multiple of 14 x 14"),
        ({"batch_norm": False}, r"^tied: \(5, 3\); expected none without batch_norm"),
        ({"untied_epochs": -1}, "^untied_epochs: -1"),
        ({"batch_size": 1}, "^batch_size: 1; expected .* with batch_norm 2 or more"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides: dict[str, Any], reason: str) -> None:
    tied = {"hidden": [1568, 1568, 512], "batch_norm": True, "tied": [5, 3], "untied_epochs": 2}
    assert configure("dense-128", tied, CONTRACT.image).tied == (5, 3)
    with pytest.raises(SettingsError, match=reason):
        configure("dense-128", {**tied, **overrides}, CONTRACT.image)


@pytest.mark.parametrize("name", ["momentum", "model", "Epochs", ""])
def test_an_unknown_field_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: no such field.*average, batch_norm, batch_size.*weight_decay$"):
        configure("dense-128", {name: 0.9})


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'dense-129'.*dense-128.*flagship"):
        configure("dense-129")


def test_the_ends_of_the_bounds_are_taken() -> None:
    least = {"epochs": 1, "batch_size": 1, "patience": 1, "seed": 0, "hidden": [1], "erase": 0, "learning_rate": 1e-9}
    most = {"shift": 4, "erase": 1, "weight_decay": 1, "learning_rate": 1, "seed": 2**63 - 1, "hidden": [16_384]}
    others: list[dict[str, Any]] = [{"hidden": []}, {"patience": None}]
    for overrides in (least, most, *others):
        assert configure("dense-128", overrides)


def test_overrides_replace_only_what_is_given() -> None:
    config = configure("dense-128", {"epochs": 3, "hidden": [8]})
    assert config == dataclasses.replace(PRESETS["dense-128"].config, epochs=3, model=ModelConfig(hidden=(8,)))


def test_lists_from_json_are_the_tuples_that_they_stand_for() -> None:
    assert TrainConfig(model=ModelConfig(hidden=[4])) == TrainConfig(model=ModelConfig(hidden=(4,)))  # type: ignore[arg-type]
    given = {"hidden": [196], "batch_norm": True, "tied": [3]}
    assert configure("dense-128", given).tied == (3,)


# --- the recipes ---


@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    [
        ("ann-128x2", "784-128-128-10 relu", 118_282),
        ("dense-128", "784-128-10 relu", 101_770),
        ("mlp-512x256", "784-512-256-10 relu", 535_818),
        ("dense-128-logits", "784-128-10 relu", 101_770),
    ],
)
def test_a_published_recipe_has_the_published_layers(name: str, layers: str, parameters: int) -> None:
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
def test_a_published_recipe_has_the_published_settings(name: str, published: dict[str, Any]) -> None:
    fields = PRESETS[name].fields()
    assert {field: fields[field] for field in published} == published
    assert fields["learning_rate"] == 1e-3 or name == "dense-dropout"  # which leaves it to whoever trains it


def test_dense_dropout_drops() -> None:
    assert PRESETS["dense-dropout"].config.model.dropout > 0


def test_every_preset_is_listed_under_its_name_with_all_its_fields() -> None:
    assert {"ann-128x2", "dense-128", "dense-dropout", "mlp-512x256", "dense-128-logits", "quick", "flagship"} <= set(
        PRESETS
    )
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert preset.origin
        assert preset.fields().keys() == REFUSED.keys()
        assert configure(name, preset.fields()) == preset.config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_on_the_drawn_sample(validated: Validated, name: str) -> None:
    config = configure(name, {"epochs": 1, "untied_epochs": min(1, PRESETS[name].config.untied_epochs)})
    trained = train(validated, config)
    assert [epoch.number for epoch in trained.history] == list(range(1, config.total_epochs + 1))
    widths = (784, *config.model.hidden, 10)
    shapes = [shape for before, after in itertools.pairwise(widths) for shape in ((after, before), (after,))]
    assert [tuple(weight.shape) for weight in trained.network.state_dict().values()] == shapes
    assert sum(weight.numel() for weight in trained.network.parameters()) == count_parameters(config, CONTRACT)
    assert type(trained.network) is MLP


def test_tied_layers_are_held_against_the_images() -> None:
    tied = {"hidden": [240, 30], "batch_norm": True, "tied": [3, 3]}
    assert configure("dense-128", tied, SHOP.image)
    with pytest.raises(SettingsError, match="hidden: 100 units where tied asks for a multiple of 10 x 12"):
        configure("dense-128", {**tied, "hidden": [100, 30]}, SHOP.image)
    with pytest.raises(SettingsError, match="tied: a kernel of 21; expected an odd number of pixels, at most 20"):
        configure("dense-128", {**tied, "tied": [21]}, SHOP.image)
    with pytest.raises(SettingsError, match="hidden: 784 units where tied asks for a multiple of 10 x 12"):
        build(configure("dense-128", {**tied, "hidden": [784, 49]}), SHOP)
    preset = PRESETS["dense-128"]
    assert preset.layers(SHOP) == "1440-128-3 relu"
    assert count_parameters(preset.config, SHOP) == 1440 * 128 + 128 + 128 * 3 + 3
