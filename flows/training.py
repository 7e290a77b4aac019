"""The training flow: ingest, validate, train and evaluate, save, promote, report. The work is in `components`."""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.states import Completed
from prefect.tasks import Task
from pydantic import Field

from components.contract import Dataset, Epoch, ModelCard, Validated
from components.dataset.ingest import ingest
from components.dataset.validate import validate
from components.errors import ModelError, SourceUnreachable, ValidationError
from components.evaluation.card import write_card
from components.evaluation.report import report_path, write_report
from components.files import require_writable
from components.model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from components.model.classifier import Classifier
from components.promotion.impact import write_impact
from components.promotion.promote import Promotion, promote
from components.promotion.standby import standby
from components.registry.champion import load_model, try_live
from components.registry.store import check_stored, home, save_model
from components.registry.verdicts import read_verdict
from components.settings import load_settings
from components.training.config import TrainConfig
from components.training.identity import is_same_training
from components.training.presets import DEFAULT, PRESETS, configure
from components.training.train import train
from flows.artifacts import show_dataset, show_impact, show_metrics, show_rejection, show_result, show_verdict
from flows.notify.events import emit_promotion
from flows.progress import EpochBar
from flows.starting import find_start
from ops.stopping import stop

# No caching: a run with the same input trains again. JSON results: Prefect must not store pickles.
OPTIONS: dict[str, Any] = {"cache_policy": NO_CACHE, "result_serializer": "json"}
MINUTE = 60  # seconds
LEAD = 8  # seconds before the end of the training, when the canary's server starts


def is_unreachable(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry a download, but not a damaged archive."""
    try:
        state.result()
    except SourceUnreachable:
        return True
    except Exception:
        return False
    return False


@task(
    name="ingest",
    retries=2,
    retry_delay_seconds=[10, 60],
    retry_condition_fn=is_unreachable,
    timeout_seconds=30 * MINUTE,
    **OPTIONS,
)
def ingest_data(source: str, sample_fallback: bool) -> Dataset:
    """Convert raw examples to Parquet parts and a manifest."""
    ingested = ingest(source, sample_fallback=sample_fallback, echo=get_run_logger().info)
    did = "wrote" if ingested.written else "already ingested:"
    dataset = ingested.dataset
    get_run_logger().info("%s dataset %s, %s rows of %s", did, dataset.version, f"{dataset.rows:,}", dataset.source)
    return dataset


@task(name="validate", timeout_seconds=10 * MINUTE, **OPTIONS)
def validate_data(dataset: Dataset) -> Validated:
    """Validate a dataset against its expectations."""
    try:
        validated = validate(dataset)
    except ValidationError as error:
        show_rejection(dataset, error)
        raise
    get_run_logger().info("%s expectations met, %s", validated.expectations, validated.docs)
    show_dataset(validated)
    return validated


@task(name="train", timeout_seconds=60 * MINUTE, **OPTIONS)
def train_model(
    validated: Validated, preset: str, config: TrainConfig, resume: bool, start: str, will_promote: bool
) -> Checkpoint:
    """Train and evaluate a network. Returns its checkpoint. The canary's server starts before the end."""
    base = find_start(start or config.start_from, validated.dataset, config)
    config = replace(config, start_from=base.tag if base else "")
    folder = load_settings().checkpoints_dir
    with closing(EpochBar(config, get_run_logger().info)) as bar:

        def update(epoch: Epoch) -> None:
            bar.update(epoch)
            if will_promote and (config.total_epochs - epoch.number) * epoch.seconds < LEAD:
                standby.start()

        trained = train(validated, config, update, keep_in=folder, resume=resume, start=base)
    stop.keep("the network is trained but not saved; run the same command to train it again")
    card = write_card(preset, validated, trained)
    get_run_logger().info("test accuracy %.4f, train accuracy %.4f", card.test.accuracy, card.train.accuracy)
    return write_checkpoint(folder, trained.network, card)


@task(name="save", timeout_seconds=5 * MINUTE, **OPTIONS)
def save_to_store(checkpoint: Checkpoint) -> str:
    """Save a checkpoint to the BentoML model store. Returns the exact tag."""
    tag = save_model(*read_checkpoint(checkpoint))
    checkpoint.path.unlink()
    stop.keep(f"{tag} is saved; 'fashion models' shows whether it is live, 'fashion promote {tag}' runs the gate")
    get_run_logger().info("saved %s", tag)
    return tag


@task(name="promote", timeout_seconds=20 * MINUTE, **OPTIONS)
def promote_if_better(tag: str) -> Promotion:
    """Promote the model if it passes the gate and the canary."""
    promotion = promote(tag, "training")
    outcome = "is live" if promotion.promoted else "waits for its shadow" if promotion.waits else "was rejected"
    get_run_logger().info("%s %s: %s", tag, outcome, promotion)
    emit_promotion(promotion)
    show_verdict(promotion)
    return promotion


@task(name="report", timeout_seconds=5 * MINUTE, **OPTIONS)
def write_report_of(tag: str, dataset: Dataset, rival: str | None) -> Path:
    """Write the model's HTML report, compared with the model that was live before, and its impact page."""
    model, other = load_model(tag), _try_to_load(rival)
    if other and other.tag != tag:
        _write_impact(model, other, dataset)
    show_metrics(model.card)
    return write_report(model, dataset, other, verdict=read_verdict(tag))


def _write_impact(model: Classifier, other: Classifier, dataset: Dataset) -> None:
    """Write and show the impact page; skipped if the two models have no class in common."""
    try:
        impact = write_impact(model, other, dataset)
    except ModelError as error:
        get_run_logger().warning("no impact page for the change from %s: %s", other.tag, error)
        return
    changes = impact.tally.changes
    get_run_logger().info("%s of %s test images change label", f"{changes.flips:,}", f"{changes.images:,}")
    show_impact(model.tag, other.tag, changes, impact.page)


def _try_to_load(tag: str | None) -> Classifier | None:
    """Load a model, or return None: a report without comparison is better than no report."""
    try:
        return load_model(tag) if tag else None
    except ModelError as error:
        get_run_logger().warning("the report has no comparison: %s", error)
        return None


@dataclass(frozen=True)
class TrainingResult:
    """Result of the flow; every field is JSON-serializable."""

    tag: str
    preset: str
    source: str
    dataset_version: str
    train_accuracy: float
    train_loss: float  # nats
    test_accuracy: float
    test_macro_f1: float | None  # only if the classes are imbalanced
    epochs: int  # completed
    train_seconds: float
    promoted: bool
    verdict: str
    docs: Path  # validation page
    report: Path
    skipped: bool = False  # not trained: the live model comes from an identical training

    def __repr__(self) -> str:
        state = "already live, not trained" if self.skipped else "live" if self.promoted else "not live"
        trained = f"{self.tag}, {self.preset} on {self.source}"
        return f"TrainingResult({trained}: test accuracy {self.test_accuracy:.4f}, {state})"


# A choice in Prefect's form; `configure` checks the name, and its error lists the presets.
PresetName = Annotated[str, Field(json_schema_extra={"enum": list(PRESETS)})]
Seed = Annotated[int | None, Field(ge=0, description="Random seed. Default: the preset's.")]


@flow(name="training", timeout_seconds=120 * MINUTE, persist_result=True, result_serializer="json")
def training(
    preset: PresetName = DEFAULT,
    seed: Seed = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    overrides: dict[str, Any] | None = None,
    source: str = "",
    sample_fallback: bool = False,
    promote: bool = True,
    resume: bool = False,
    skip_if_live: bool = False,
    start_from: str = "",
) -> TrainingResult:
    """Train a model on the newest data and promote it if it passes the gate against the live model.

    Args:
        preset: Name of the preset.
        seed: Random seed. Default: the preset's.
        epochs: Number of epochs. Default: the preset's.
        batch_size: Images per step. Default: the preset's.
        learning_rate: Peak learning rate of Adam. Default: the preset's.
        overrides: Other fields of the preset -> value.
        source: auto, download, sample, or a path. Empty: FASHION_SOURCE.
        sample_fallback: Use the synthetic sample if no data can be reached. Do not use in scheduled runs.
        promote: Run the gate and promote the model if it passes.
        resume: Resume an unfinished training with the same preset and data, if one exists.
        skip_if_live: Skip the training if the live model comes from the same preset, data and code.
        start_from: Exact tag of a model to start from; live; or none to train from scratch. Empty: the live model if
            the classes have changed since and its layers match the preset.
    """
    arguments = {"seed": seed, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    config = configure(
        preset, {**(overrides or {}), **{name: value for name, value in arguments.items() if value is not None}}
    )
    require_writable(load_settings().data_dir, home())
    dataset = ingest_data(source, sample_fallback)
    config.require_fit(dataset.contract.input)
    validated = validate_data(dataset)
    if skip_if_live and (live := find_same(dataset, config)):
        return finish(skip(*live, validated))
    with closing(standby):
        checkpoint = train_model(validated, preset, config, resume, start_from, promote)
        card = read_checkpoint(checkpoint)[1]
        tag = save_to_store(checkpoint)
        promotion = promote_if_better(tag) if promote else None
    report = write_report_of(tag, dataset, promotion.previous if promotion else None)
    result = summarize(tag, card, promotion, validated, report)
    show(result)
    return finish(result)


def finish(result: TrainingResult) -> TrainingResult:
    """End the flow with the result as its value and a summary as the message of its final state.

    Prefect unwraps a returned state, so callers get the result. The UI, the log and `prefect deployment run --watch`
    show the message.
    """
    return cast("TrainingResult", Completed(message=describe(result), data=result))


def describe(result: TrainingResult) -> str:
    """The result in one line."""
    what = "skipped, already live" if result.skipped else "live" if result.promoted else "not live"
    uneven = "" if result.test_macro_f1 is None else f", macro F1 {result.test_macro_f1:.4f}"
    return f"{result.tag} {what}, test accuracy {result.test_accuracy:.4f}{uneven}"


def find_same(dataset: Dataset, config: TrainConfig) -> tuple[str, ModelCard] | None:
    """Return the live model's tag and card if training now would repeat its training; None if it is damaged."""
    live = try_live()
    try:
        card = check_stored(live.tag) if live else None
    except ModelError as error:
        get_run_logger().warning("cannot compare with the live model: %s", error)
        return None
    return (live.tag, card) if live and card and is_same_training(card, dataset, config) else None


def skip(tag: str, card: ModelCard, validated: Validated) -> TrainingResult:
    """End the run without training."""
    verdict = f"skipped: {tag} is live and comes from the same preset, data and code"
    get_run_logger().info(verdict)
    result = replace(summarize(tag, card, None, validated, report_path(tag)), verdict=verdict, skipped=True)
    show_result(tag, {}, verdict, {"report": result.report}, sample=card.source == "sample")
    return result


def summarize(
    tag: str, card: ModelCard, promotion: Promotion | None, validated: Validated, report: Path
) -> TrainingResult:
    """Collect the results of the steps."""
    return TrainingResult(
        tag=tag,
        preset=card.preset,
        source=card.source,
        dataset_version=card.dataset_version,
        train_accuracy=card.train.accuracy,
        train_loss=card.train.loss,
        test_accuracy=card.test.accuracy,
        test_macro_f1=card.test.macro_f1 if card.test.is_skewed else None,
        epochs=len(card.history),
        train_seconds=card.train_seconds,
        promoted=bool(promotion and promotion.promoted),
        verdict=str(promotion) if promotion else "not requested",
        docs=validated.docs,
        report=report,
    )


def show(result: TrainingResult) -> None:
    """Show the result as an artifact."""
    rows = {
        "test accuracy": f"{result.test_accuracy:.4f}",
        **({"test macro F1": f"{result.test_macro_f1:.4f}"} if result.test_macro_f1 is not None else {}),
        "train accuracy": f"{result.train_accuracy:.4f}",
        "train loss": f"{result.train_loss:.4f} nats",
        "preset": f"{result.preset}, {result.epochs} epochs in {result.train_seconds:.1f} s",
        "dataset": f"{result.dataset_version} ({result.source})",
        "live": "yes" if result.promoted else "no",
    }
    paths = {"validation page": result.docs, "report": result.report}
    show_result(result.tag, rows, result.verdict, paths, sample=result.source == "sample")
