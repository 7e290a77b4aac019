"""Evaluate challenger and champion on the same held-out test images, for the gate."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from components.contract import Dataset, Flips, Labels, ModelCard, Predictions, require_equal
from components.dataset.manifest import Examples, check_receipt, dataset_of, read_manifest, read_split
from components.errors import DatasetError, ModelError
from components.evaluation.compare import find_chance
from components.evaluation.groups import find_common
from components.evaluation.metrics import measure
from components.model.classifier import Classifier
from components.promotion.changed import PairedAnswers, compare_changed, finite_logits
from components.promotion.gate import Performance, Trial
from components.promotion.noise import Answers, to_answers
from components.promotion.robustness import measure_robustness
from components.registry.champion import Move, earlier_moves
from components.scoring.predict import predict
from components.settings import Settings

BATCH = 1024  # images, the largest request
REPEATS = 30  # of the timing of one image


def run_trial(challenger: Classifier, champion: Classifier | None, live: Move | None, settings: Settings) -> Trial:
    """Evaluate a challenger and the champion on the test images of the challenger's dataset.

    Args:
        challenger: loaded from the store.
        champion: the live model, or None.
        live: the move that made it live, or None.
        settings: where the datasets are.

    Raises:
        DatasetError: the dataset is missing or has changed.
        ModelError: a model's contract differs from the dataset's, or a logit is not finite.
    """
    dataset = dataset_of(settings.datasets_dir, challenger.card.dataset_version)
    test = read_split(dataset, "test")
    answers, performance = perform(challenger, test, dataset)
    paired = _pair_answers(challenger, champion, answers, test, dataset) if champion else None
    fixed, regressed = paired.count_discordant() if paired else (0, 0)
    batch = np.resize(test.images, (BATCH, *test.images.shape[1:]))
    return Trial(
        challenger=performance,
        champion=paired.champion if paired else None,
        noise=paired.measure_noise() if paired else None,
        seconds=_time(lambda: predict(challenger, batch[:1]), REPEATS),
        batch_seconds=_time(lambda: predict(challenger, batch), 3),
        fixed=fixed,
        regressed=regressed,
        chance=find_chance(fixed, regressed),
        leaked=_count_leaked(dataset, test),
        receipt=_check_receipt(dataset, challenger.card),
        probe_error=_compare_probes(challenger, test),
        best=_find_best(challenger.card, live),
        changed=paired.changed if paired else None,
        flips=count_flips(predict(champion, test.images), answers.labels)
        if champion and paired and not paired.changed
        else None,
    )


def count_flips(before: Predictions, labels: Labels) -> Flips:
    """Count the images that get another label.

    Args:
        before: the champion's predictions of n images.
        labels: the challenger's labels, (n,).
    """
    changed = before.labels != labels

    def count(rows: NDArray[np.bool_]) -> tuple[int, int]:
        return int(rows.sum()), int(changed[rows].sum())

    by_class = {name: count(before.labels == label) for label, name in enumerate(before.classes)}
    return Flips(count(before.sure), count(~before.sure), by_class)


def _pair_answers(
    challenger: Classifier, champion: Classifier, answers: Answers, test: Examples, dataset: Dataset
) -> PairedAnswers:
    """Compare on all test images, or only on the common classes if the classes differ."""
    if champion.contract.difference(challenger.contract) and (common := find_common(challenger.card, champion.card)):
        return compare_changed(challenger, champion, common, test, dataset)
    others, performance = perform(champion, test, dataset)
    return PairedAnswers(test.labels, answers, others, performance)


def perform(model: Classifier, test: Examples, dataset: Dataset) -> tuple[Answers, Performance]:
    """Evaluate a model on a test split.

    Returns:
        The answer for each image, and the metrics over all.

    Raises:
        ModelError: its contract differs from the dataset's, or a logit is not finite.
    """
    require_equal(dataset.contract, model.contract, model.tag, ModelError)
    logits = finite_logits(model, test.images)
    version = read_manifest(dataset).split_version("test")
    clean, disturbed = measure_robustness(model.logits, test.images, test.labels)
    performance = Performance(
        tag=model.tag,
        card=model.card,
        metrics=measure(logits, test.labels, test.contract.classes, "test", version, model.card.calibration),
        robustness={name: (float(right.mean()), float(clean.mean())) for name, right in disturbed.items()},
        bytes=model.bytes,
        unknown=_share_unknown(model, test),
    )
    temperature = model.card.calibration.temperature
    return to_answers(logits, test.labels, temperature, clean, disturbed), performance


def _share_unknown(model: Classifier, test: Examples) -> float | None:
    """Return the share of the test images that count as unknown, 0 to 1; None if the model does not detect them."""
    known = predict(model, test.images).known if model.card.known else None
    return None if known is None else float((~known).mean())


def _time(work: Callable[[], object], repeats: int) -> float:
    """Return the median duration in seconds after one warm-up, on one thread as in the service."""
    with threadpool_limits(1, "blas"):
        work()
        times = [time.perf_counter()]
        for _ in range(repeats):
            work()
            times.append(time.perf_counter())
    return median(np.diff(times).tolist())


def _count_leaked(dataset: Dataset, test: Examples) -> int:
    """Count the training images that are exact duplicates of a test image."""
    held_out = {image.tobytes() for image in test.images}
    return sum(image.tobytes() in held_out for image in read_split(dataset, "train").images)


def _check_receipt(dataset: Dataset, card: ModelCard) -> str:
    """Describe what is wrong with the validation receipt of the model's dataset; "" if nothing is."""
    try:
        receipt = check_receipt(dataset)
    except DatasetError as error:
        return str(error)
    if not card.expectations or receipt.expectations < card.expectations:
        found, expected = receipt.expectations, card.expectations
        return f"dataset {dataset.version} met {found} expectations, the model card says {expected}"
    return ""


def _compare_probes(model: Classifier, test: Examples) -> float:
    """Return the largest change of a probability since training; infinite if none were recorded."""
    rows = {name: row for row, name in enumerate(test.ids)}
    probes = [probe for probe in model.card.probes if probe.id in rows]
    if not probes or len(probes) < len(model.card.probes):
        return float("inf")
    current = predict(model, test.images[[rows[probe.id] for probe in probes]]).probabilities
    return float(np.abs(current - np.array([probe.probabilities for probe in probes])).max())


def _find_best(card: ModelCard, live: Move | None) -> float:
    """Return the highest accuracy of all champions so far on the test split of this card; 0 if none."""
    moves = [*earlier_moves(), *([live] if live else [])]
    found = [move.accuracy for move in moves if move.accuracy and move.split_version == card.test.split_version]
    return max(found, default=0.0)
