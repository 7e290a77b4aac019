"""Ingest, validate, train and evaluate, save, promote: when it is done. How is in `components`."""

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.tasks import Task
from pydantic import Field
from tqdm import tqdm

from components.contract import Dataset, Epoch, ModelCard, Validated
from components.dataset.ingest import ingest
from components.dataset.validate import validate
from components.errors import ModelError, SourceUnreachable
from components.evaluation.card import write_card
from components.evaluation.report import report_path, write_report
from components.files import require_writable
from components.model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from components.model.classifier import Classifier
from components.promotion.impact import write_impact
from components.promotion.promote import Promotion, promote
from components.registry.champion import load_model, try_live
from components.registry.store import check_stored, home, save_model
from components.registry.verdicts import read_verdict
from components.settings import load_settings
from components.training.config import TrainConfig
from components.training.identity import is_same_training
from components.training.presets import DEFAULT, configure
from components.training.train import train
from flows.artifacts import show_dataset, show_impact, show_metrics, show_result, show_verdict
from flows.notify.events import emit_promotion
from flows.starting import find_start
from ops.stopping import stop

# The same input is trained on again when somebody asks for it, and what Prefect keeps of a task is never a pickle.
OPTIONS: dict[str, Any] = {"cache_policy": NO_CACHE, "result_serializer": "json"}
MINUTE = 60  # seconds


def is_unreachable(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """A download may work later; a damaged archive stays damaged."""
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
    """Raw examples -> Parquet parts and a manifest."""
    ingested = ingest(source, sample_fallback=sample_fallback, echo=get_run_logger().info)
    did = "wrote" if ingested.written else "already ingested, nothing to do:"
    dataset = ingested.dataset
    get_run_logger().info("%s dataset %s, %s rows of %s", did, dataset.version, f"{dataset.rows:,}", dataset.source)
    return dataset


@task(name="validate", timeout_seconds=10 * MINUTE, **OPTIONS)
def validate_data(dataset: Dataset) -> Validated:
    """Dataset -> receipt."""
    validated = validate(dataset)
    get_run_logger().info("%s expectations met, %s", validated.expectations, validated.docs)
    show_dataset(validated)
    return validated


@task(name="train", timeout_seconds=60 * MINUTE, **OPTIONS)
def train_model(validated: Validated, preset: str, config: TrainConfig, resume: bool, start: str) -> Checkpoint:
    """Receipt -> a checkpoint with its metrics."""
    begun = find_start(start or config.start_from, validated.dataset, config)
    config = replace(config, start_from=begun.tag if begun else "")
    folder = load_settings().checkpoints_dir
    with closing(EpochBar(config.total_epochs, get_run_logger().info)) as bar:
        trained = train(validated, config, bar.update, keep_in=folder, resume=resume, start=begun)
    stop.keep("the network is trained, but not saved yet; the same command trains it again")
    card = write_card(preset, validated, trained)
    get_run_logger().info("test accuracy %.4f, train accuracy %.4f", card.test.accuracy, card.train.accuracy)
    return write_checkpoint(folder, trained.network, card)


@task(name="save", timeout_seconds=5 * MINUTE, **OPTIONS)
def save_to_store(checkpoint: Checkpoint) -> str:
    """Checkpoint -> a model in the BentoML store. Returns its exact tag."""
    tag = save_model(*read_checkpoint(checkpoint))
    checkpoint.path.unlink()
    stop.keep(f"{tag} is saved; 'fashion models' says whether it is live, 'fashion promote {tag}' asks the gate")
    get_run_logger().info("saved %s", tag)
    return tag


@task(name="promote", timeout_seconds=20 * MINUTE, **OPTIONS)
def promote_if_better(tag: str) -> Promotion:
    """Put the model live if the gate lets it."""
    promotion = promote(tag, "training")
    get_run_logger().info("%s %s: %s", tag, "is live" if promotion.promoted else "was refused", promotion)
    emit_promotion(promotion)
    show_verdict(promotion)
    return promotion


@task(name="report", timeout_seconds=5 * MINUTE, **OPTIONS)
def write_report_of(tag: str, dataset: Dataset, rival: str | None) -> Path:
    """Write the model's HTML page, beside the model that was live when it came, and what changes in its place."""
    model, other = load_model(tag), _try_to_load(rival)
    if other and other.tag != tag:
        _follow_images(model, other, dataset)
    show_metrics(model.card)
    return write_report(model, dataset, other, verdict=read_verdict(tag))


def _follow_images(model: Classifier, other: Classifier, dataset: Dataset) -> None:
    """Write and show what changes in the other's place; of two models without a class in common nothing can be told."""
    try:
        impact = write_impact(model, other, dataset)
    except ModelError as error:
        get_run_logger().warning("nothing is shown of what changes in the place of %s: %s", other.tag, error)
        return
    changes = impact.tally.changes
    get_run_logger().info("%s of %s test images change label", f"{changes.flips:,}", f"{changes.images:,}")
    show_impact(model.tag, other.tag, changes, impact.page)


def _try_to_load(tag: str | None) -> Classifier | None:
    """A page without the comparison is better than none."""
    try:
        return load_model(tag) if tag else None
    except ModelError as error:
        get_run_logger().warning("the report compares with no model: %s", error)
        return None


@dataclass(frozen=True)
class TrainingResult:
    """What a run of the flow came to; every field is JSON."""

    tag: str
    preset: str
    source: str
    dataset_version: str
    train_accuracy: float
    train_loss: float  # nats
    test_accuracy: float
    test_macro_f1: float | None  # of a catalogue whose classes are uneven; None of another
    epochs: int  # that ran
    train_seconds: float
    promoted: bool
    verdict: str
    docs: Path  # Data Docs
    report: Path
    skipped: bool = False  # nothing was trained: the live model came of the very same training


Seed = Annotated[int | None, Field(ge=0, description="Of the weights, the split and the order; none: the preset's.")]


@flow(name="training", timeout_seconds=120 * MINUTE, persist_result=True, result_serializer="json")
def training(
    preset: str = DEFAULT,
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
    """Train a model on the newest data and put it live if it is not worse than the live one.

    Args:
        preset: the recipe's name.
        seed: of the first weights, the validation rows and the order of the images; none: the preset's.
        epochs: passes over the training images; none: the preset's.
        batch_size: images a step; none: the preset's.
        learning_rate: Adam's highest; none: the preset's.
        overrides: any other field of the recipe -> its value.
        source: auto, download, sample, or a path; empty: FASHION_SOURCE.
        sample_fallback: where no data can be reached, go on with the drawn sample. Never in a scheduled run.
        promote: ask the gate, and put the model live if it agrees.
        resume: go on with an unfinished training of the same recipe on the same data, where there is one.
        skip_if_live: train nothing where the live model came of the same recipe, data and code.
        start_from: exact tag of a model to go on from, or live; none: begin anew; empty: go on from the live model
            where the classes changed since and the recipe has its layers.
    """
    given = {"seed": seed, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    config = configure(
        preset, {**(overrides or {}), **{name: value for name, value in given.items() if value is not None}}
    )
    require_writable(load_settings().data_dir, home())
    dataset = ingest_data(source, sample_fallback)
    config.require_fit(dataset.contract.image)
    validated = validate_data(dataset)
    if skip_if_live and (live := find_same(dataset, config)):
        return skip(*live, validated)
    checkpoint = train_model(validated, preset, config, resume, start_from)
    card = read_checkpoint(checkpoint)[1]
    tag = save_to_store(checkpoint)
    promotion = promote_if_better(tag) if promote else None
    report = write_report_of(tag, dataset, promotion.previous if promotion else None)
    result = summarize(tag, card, promotion, validated, report)
    show(result)
    return result


def find_same(dataset: Dataset, config: TrainConfig) -> tuple[str, ModelCard] | None:
    """The live model's tag and card, where training now would be to repeat its training; a damaged one is no reason."""
    live = try_live()
    try:
        card = check_stored(live.tag) if live else None
    except ModelError as error:
        get_run_logger().warning("the live model cannot be compared with: %s", error)
        return None
    return (live.tag, card) if live and card and is_same_training(card, dataset, config) else None


def skip(tag: str, card: ModelCard, validated: Validated) -> TrainingResult:
    """End a run with nothing trained."""
    told = f"skipped: {tag} is live, and came of the same recipe, data and code"
    get_run_logger().info(told)
    result = replace(summarize(tag, card, None, validated, report_path(tag)), verdict=told, skipped=True)
    show_result(tag, {}, told, {"report": result.report}, sample=card.source == "sample")
    return result


def summarize(
    tag: str, card: ModelCard, promotion: Promotion | None, validated: Validated, report: Path
) -> TrainingResult:
    """Gather what the steps gave."""
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
        verdict=str(promotion) if promotion else "not asked for",
        docs=validated.docs,
        report=report,
    )


def show(result: TrainingResult) -> None:
    """A run's result on Prefect's page."""
    rows = {
        "test accuracy": f"{result.test_accuracy:.4f}",
        **({"test macro F1": f"{result.test_macro_f1:.4f}"} if result.test_macro_f1 is not None else {}),
        "train accuracy": f"{result.train_accuracy:.4f}",
        "train loss": f"{result.train_loss:.4f} nats",
        "preset": f"{result.preset}, {result.epochs} epochs in {result.train_seconds:.1f} s",
        "dataset": f"{result.dataset_version} ({result.source})",
        "live": "yes" if result.promoted else "no",
    }
    paths = {"Data Docs": result.docs, "report": result.report}
    show_result(result.tag, rows, result.verdict, paths, sample=result.source == "sample")


class EpochBar:
    """Progress through the epochs: a bar on a terminal, log lines elsewhere."""

    def __init__(self, epochs: int, log: Callable[..., None]) -> None:
        self.bar = tqdm(total=epochs, unit="epoch", file=sys.stderr) if sys.stderr.isatty() else None
        self.epochs, self.log = epochs, log

    def update(self, epoch: Epoch) -> None:
        """Show one more epoch, which is kept."""
        stop.keep(f"epoch {epoch.number} of {self.epochs} is kept", can_resume=True)
        told = (
            f"loss {epoch.loss:.4f}, validation {epoch.validation_loss:.4f}, accuracy {epoch.validation_accuracy:.4f}"
        )
        if self.bar is None:
            self.log("epoch %d of %d: %s, %.2f s", epoch.number, self.epochs, told, epoch.seconds)
        else:
            self.bar.set_postfix_str(told, refresh=False)
            self.bar.update()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()
