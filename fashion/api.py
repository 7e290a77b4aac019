"""The functions of the public Python API that do more than pass a call on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.contract import Predictions
    from components.model.classifier import Classifier
    from components.scoring.job import Summary
    from flows.training import TrainingResult


def load_model(name: str = "live") -> "Classifier":
    """Load a model of the store, every byte checked.

    Args:
        name: `live`, `previous`, `latest`, an exact tag, or the start of exactly one tag.

    Raises:
        NoLiveModel: `live`, and nothing was promoted yet.
        ModelNotFound: no model has this name, or several do.
        ModelError: its files are damaged.
    """
    from components.registry import champion
    from components.registry.names import LIVE, resolve_tag

    return champion.load_model() if name == LIVE else champion.load_model(resolve_tag(name))


def classify(*photos: "str | Path | bytes", model: "Classifier | str | None" = None) -> "Predictions":
    """Classify photos, prepared as the service prepares them.

    Args:
        photos: paths of picture files, or their content.
        model: a loaded model or the name of one; None: the live model.

    Returns:
        One prediction per photo: `names`, `confidences` and `sure` have n entries, `probabilities` is
        float32 (n, classes).

    Raises:
        InputError: a file is not a picture that can be read.
        NoLiveModel, ModelNotFound, ModelError: see `load_model`.
    """
    from components.errors import InputError
    from components.readers.images.photos import read_views
    from components.scoring.predict import predict_photos

    if not photos:
        raise InputError("photos", "none given, expected at least one")
    loaded = load_model(model or "live") if model is None or isinstance(model, str) else model
    views = []
    for photo in photos:
        content, name = (photo, "photo") if isinstance(photo, bytes) else (_read(Path(photo)), str(photo))
        views.append(read_views(content, loaded.contract, name))
    return predict_photos(loaded, views)


def _read(path: Path) -> bytes:
    from components.errors import InputError

    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from error


def score(
    source: "str | Path", output: "str | Path", model: "Classifier | str | None" = None, **options: Any
) -> "Summary":
    """Classify a table or a set of pictures of any size, in bounded memory.

    Args:
        source: a table, a picture, an archive, a folder, a pattern, or s3://...
        output: `*.csv`, `*.parquet` or `*.jsonl`; it appears whole or not at all.
        model: a loaded model or the name of one; None: the live model.
        options: as for `components.scoring.job.run_job`: rejects, resume, workers, reading, max_reject_rate, check.

    Returns:
        Counts of rows scored and rejected, and the seconds it took.

    Raises:
        InputError: the input cannot be read.
    """
    from components.scoring.job import run_job
    from components.storage import locate

    loaded = load_model(model or "live") if model is None or isinstance(model, str) else model
    return run_job(loaded, locate(str(source)), locate(str(output)), **options)


def train(preset: str = "", source: str = "", **options: Any) -> "TrainingResult":
    """Train a model: ingest, validate, train and evaluate, save, promote. What `fashion train` does.

    Args:
        preset: its name; empty: `dense-128`, or `photos` for a catalogue of your own.
        source: auto, download, sample, or a path; empty: FASHION_SOURCE.
        options: as for the flow `flows.training.training`: seed, epochs, overrides, promote, resume, start_from, ...

    Returns:
        The tag of the model, its accuracy, and whether it went live.

    Raises:
        FashionError: what a command would report.
    """
    from fashion.cli.training import default_preset
    from ops.environment import prepare
    from ops.server import use_server

    prepare()
    server = use_server()
    from flows.training import training

    server.wait()
    result: TrainingResult = training(preset=preset or default_preset(), source=source, **options)
    return result
