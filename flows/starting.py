"""Choose the model that a training starts from."""

from dataclasses import replace

from prefect.logging import get_run_logger

from components.contract import Dataset, ModelCard
from components.dataset.manifest import dataset_of, read_manifest, read_split
from components.errors import DatasetError, ModelError, SettingsError
from components.model.mlp import to_mlp
from components.registry.champion import load_model, try_live
from components.registry.store import check_stored
from components.revisions import Lineage
from components.settings import load_settings
from components.training.config import TrainConfig, config_of
from components.training.data import RowsBefore, divide_ids
from components.training.starting import ANEW, LIVE, Start


def find_start(requested: str, dataset: Dataset, config: TrainConfig) -> Start | None:
    """Return the model to start from, or None to train from scratch.

    Args:
        requested: an exact tag; `live`; `none` for scratch; or "" for the live model if the classes have changed since
            and its layers match the preset.
        dataset: the training data.
        config: the training configuration.

    Raises:
        ModelError: the requested model does not load.
        SettingsError: the requested model does not fit.
    """
    lineage = Lineage(dataset.contract.classes, read_manifest(dataset).revisions)
    phase = replace(config.for_image(dataset.contract.input), start_from=LIVE).phases()[0]
    live = try_live()
    if requested == LIVE and live is None:
        raise SettingsError("start_from: found 'live', but no model is live")
    if requested and requested != ANEW:
        start = _open(live.tag if live and requested == LIVE else requested)
        if problem := start.find_misfit(dataset.contract, phase, lineage):
            raise SettingsError(f"start_from: {start.tag} {problem}")
        return start
    if requested or live is None or not lineage.revisions:
        return None
    try:
        if not check_stored(live.tag).contract.difference(dataset.contract):
            return None
        start = _open(live.tag)
        problem = start.find_misfit(dataset.contract, phase, lineage)
    except (ModelError, SettingsError) as error:
        problem = str(error)
    if problem:
        get_run_logger().info("training from scratch: %s %s", live.tag, problem)
        return None
    get_run_logger().info("the classes have changed: training starts from %s", live.tag)
    return start


def _open(tag: str) -> Start:
    model = load_model(tag)
    lineage = Lineage(model.card.classes, model.card.revisions)
    return Start(tag, to_mlp(model.network), lineage, _divide(tag, model.card))


def _divide(tag: str, card: ModelCard) -> RowsBefore:
    """Reconstruct the training and validation rows of a model, following the models that it started from.

    Raises:
        SettingsError: a dataset or an earlier model no longer exists.
    """
    config = config_of(card.training)
    try:
        examples = read_split(dataset_of(load_settings().datasets_dir, card.dataset_version), "train")
        earlier = _divide(config.start_from, check_stored(config.start_from)) if config.start_from else None
    except (DatasetError, ModelError) as error:
        raise SettingsError(f"start_from: cannot determine the validation rows of {tag}: {error}") from error
    return divide_ids(examples, config, earlier)
