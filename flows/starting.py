"""The model that a training goes on from."""

from dataclasses import replace
from typing import Any

from prefect.logging import get_run_logger

from components.contract import Dataset, ModelCard
from components.dataset.manifest import dataset_of, read_manifest, read_split
from components.errors import DatasetError, ModelError, SettingsError
from components.model.mlp import ModelConfig
from components.registry.champion import load_model, try_live
from components.registry.store import check_stored
from components.revisions import Lineage
from components.settings import load_settings
from components.training.config import TrainConfig
from components.training.data import RowsBefore, divide_ids
from components.training.starting import ANEW, LIVE, Start


def find_start(asked: str, dataset: Dataset, config: TrainConfig) -> Start | None:
    """The model to go on from; None: the training begins anew.

    Args:
        asked: an exact tag; `live`; `none`: begin anew; or "": the live model where the classes changed since and the
            recipe has its layers.
        dataset: what is to be trained on.
        config: the recipe.

    Raises:
        ModelError: the model that was asked for does not load.
        SettingsError: it cannot be gone on from.
    """
    lineage = Lineage(dataset.contract.classes, read_manifest(dataset).revisions)
    phase = replace(config.for_image(dataset.contract.image), start_from=LIVE).phases()[0]
    live = try_live()
    if asked == LIVE and live is None:
        raise SettingsError("start_from: nothing is live to go on from")
    if asked and asked != ANEW:
        start = _open(live.tag if live and asked == LIVE else asked)
        if problem := start.find_misfit(dataset.contract, phase, lineage):
            raise SettingsError(f"start_from: {start.tag} {problem}")
        return start
    if asked or live is None or not lineage.revisions:
        return None
    try:
        if check_stored(live.tag).contract == dataset.contract:
            return None
        start = _open(live.tag)
        problem = start.find_misfit(dataset.contract, phase, lineage)
    except (ModelError, SettingsError) as error:
        problem = str(error)
    if problem:
        get_run_logger().info("the training begins anew: %s %s", live.tag, problem)
        return None
    get_run_logger().info("the classes changed: the training goes on from %s", live.tag)
    return start


def _open(tag: str) -> Start:
    model = load_model(tag)
    return Start(tag, model.network, Lineage(model.card.classes, model.card.revisions), _divide(tag, model.card))


def _divide(tag: str, card: ModelCard) -> RowsBefore:
    """How the rows were divided that it was trained on, which models before it may have to do with.

    Raises:
        SettingsError: a dataset or a model before it is gone.
    """
    config = _config_of(card.training)
    try:
        examples = read_split(dataset_of(load_settings().datasets_dir, card.dataset_version), "train")
        earlier = _divide(config.start_from, check_stored(config.start_from)) if config.start_from else None
    except (DatasetError, ModelError) as error:
        raise SettingsError(f"start_from: nobody knows which rows {tag} was not trained on: {error}") from error
    return divide_ids(examples, config, earlier)


def _config_of(training: dict[str, Any]) -> TrainConfig:
    fields = dict(training)
    return TrainConfig(model=ModelConfig(**fields.pop("model")), **fields)
