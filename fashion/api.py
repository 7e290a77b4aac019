"""The functions of the public Python API that do more than pass a call on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.contract import Predictions
    from components.model.classifier import Classifier
    from components.readers.folders.parts import TableReading
    from components.scoring.input_check import Mode
    from components.scoring.job import Summary
    from components.scoring.precision import Precision
    from flows.training import TrainingResult


def load_model(name: str = "live") -> "Classifier":
    """Load a model of the store, every byte checked. Reads ./fashion.toml first, if it exists, as the commands do.

    Args:
        name: `live`, `previous`, `latest`, an exact tag, or the start of exactly one tag.

    Raises:
        NoLiveModel: `live`, and nothing was promoted yet.
        ModelNotFound: no model has this name, or several do.
        ModelError: its files are damaged.
        SettingsError: fashion.toml or a variable is invalid.
    """
    from ops.environment import prepare

    prepare()
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
    from components.scoring.predict import predict_photos, require_finite

    if not photos:
        raise InputError("photos", "none given, expected at least one")
    loaded = _load(model)
    views = []
    for photo in photos:
        content, name = (photo, "photo") if isinstance(photo, bytes) else (read_photo(Path(photo)), str(photo))
        views.append(read_views(content, loaded.contract, name))
    return require_finite(predict_photos(loaded, views))


def _load(model: "Classifier | str | None") -> "Classifier":
    return load_model(model or "live") if model is None or isinstance(model, str) else model


def read_photo(path: Path) -> bytes:
    """The content of a picture file. Raises InputError: it cannot be read."""
    from components.errors import InputError

    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from error


def score(
    source: "str | Path",
    output: "str | Path",
    model: "Classifier | str | None" = None,
    *,
    rejects: "str | Path | None" = None,
    resume: bool = False,
    workers: int = 2,
    max_reject_rate: float = 1.0,
    precision: "Precision" = "auto",
    check: "Mode" = "off",
    reading: "TableReading | None" = None,
) -> "Summary":
    """Classify a table or a set of pictures of any size, in bounded memory.

    Args:
        source: a table, a picture, an archive, a folder, a pattern, or s3://...
        output: `*.csv`, `*.parquet` or `*.jsonl`, written atomically.
        model: a loaded model or the name of one; None: the live model.
        rejects: output for rows that cannot be read; None: `OUTPUT.rejects.*`.
        resume: resume the same job if it was interrupted.
        workers: number of parts to score in parallel, one core each.
        max_reject_rate: largest share of rejected rows, 0 to 1; the job fails above it and leaves the output unchanged.
        precision: "float32", or "auto": products of integers where they are faster.
        check: action when the input sanity check fails: "fail", "warn", or "off" to skip the check.
        reading: delimiter, columns and part size of a table.

    Returns:
        Counts of rows scored and rejected, and the duration in seconds.

    Raises:
        InputError: the input cannot be read, has too many rejected rows or fails the input sanity check.
        NoLiveModel, ModelNotFound, ModelError: see `load_model`.
    """
    from components.scoring.job import DEFAULT_READING, run_job
    from components.storage import locate

    return run_job(
        _load(model),
        locate(str(source)),
        locate(str(output)),
        rejects=locate(str(rejects)) if rejects else None,
        resume=resume,
        workers=workers,
        reading=reading or DEFAULT_READING,
        max_reject_rate=max_reject_rate,
        precision=precision,
        check=check,
    )


def train(
    preset: str = "",
    source: str = "",
    *,
    seed: int | None = None,
    epochs: int | None = None,
    overrides: dict[str, Any] | None = None,
    sample_fallback: bool = False,
    promote: bool = True,
    resume: bool = False,
    start_from: str = "",
) -> "TrainingResult":
    """Train a model as `fashion train` does: ingest, validate, train, evaluate, save, promote.

    Checks the settings, then starts a temporary Prefect server unless PREFECT_API_URL names one. Call it before you
    import Prefect.

    Args:
        preset: name of the preset; empty: `dense-128`, or `photos` for a catalogue of your own, or `vectors`
            if it has a network.
        source: auto, download, sample, or a path; empty: FASHION_SOURCE.
        seed: random seed; None: the preset's.
        epochs: number of epochs; None: the preset's.
        overrides: other fields of the preset -> value, such as `{"batch_size": 64}`.
        sample_fallback: use the synthetic sample if no data can be reached.
        promote: make the model live if it passes the gate and the canary.
        resume: resume an unfinished training with the same preset and data.
        start_from: live, the name of a model to start from, or none; empty: live if the classes changed.

    Returns:
        The tag of the model, its test accuracy, and whether it is live.

    Raises:
        FashionError: the settings, the source or the data are invalid, or the training failed.
    """
    from fashion.training import check_training, open_training
    from ops.environment import prepare

    prepare()
    given = {"seed": seed, "epochs": epochs}
    fields = (overrides or {}) | {name: value for name, value in given.items() if value is not None}
    preset, start_from = check_training(preset, fields, start_from)
    return open_training()(
        preset=preset,
        source=source,
        overrides=fields,
        sample_fallback=sample_fallback,
        promote=promote,
        resume=resume,
        start_from=start_from,
    )
