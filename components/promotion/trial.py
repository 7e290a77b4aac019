"""Two models on the same untouched images: what the gate judges."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from components.contract import Dataset, ModelCard, require_equal
from components.dataset.manifest import Examples, check_receipt, dataset_of, read_manifest, read_split
from components.errors import DatasetError, ModelError
from components.evaluation.compare import find_chance
from components.evaluation.groups import find_common
from components.evaluation.metrics import measure
from components.model.classifier import Classifier
from components.promotion.changed import Beside, compare_changed, finite_logits
from components.promotion.gate import Performance, Trial
from components.promotion.noise import Answers, to_answers
from components.promotion.robustness import measure_robustness
from components.registry.champion import Move, earlier_moves
from components.scoring.predict import predict
from components.settings import Settings

BATCH = 1024  # images, the most that a request may hold
TURNS = 30  # of timing one image


def hold_trial(challenger: Classifier, champion: Classifier | None, live: Move | None, settings: Settings) -> Trial:
    """Measure a challenger, and the live model beside it, on the test images of the challenger's dataset.

    Args:
        challenger: loaded from the store.
        champion: the live model, if there is one.
        live: the move that made it live.
        settings: where datasets are.

    Raises:
        DatasetError: the dataset is missing, or changed since it was written.
        ModelError: a model is of another contract than the dataset, or what it says is not finite.
    """
    dataset = dataset_of(settings.datasets_dir, challenger.card.dataset_version)
    test = read_split(dataset, "test")
    answers, performance = perform(challenger, test, dataset)
    beside = _hold_beside(challenger, champion, answers, test, dataset) if champion else None
    mended, broken = beside.count_uneven() if beside else (0, 0)
    batch = np.resize(test.images, (BATCH, *test.images.shape[1:]))
    return Trial(
        challenger=performance,
        champion=beside.champion if beside else None,
        noise=beside.measure_noise() if beside else None,
        seconds=_time(lambda: predict(challenger, batch[:1]), TURNS),
        batch_seconds=_time(lambda: predict(challenger, batch), 3),
        mended=mended,
        broken=broken,
        chance=find_chance(mended, broken),
        leaked=_count_leaked(dataset, test),
        receipt=_find_fault(dataset, challenger.card),
        probe_error=_compare_probes(challenger, test),
        best=_find_best(challenger.card, live),
        changed=beside.changed if beside else None,
    )


def _hold_beside(
    challenger: Classifier, champion: Classifier, answers: Answers, test: Examples, dataset: Dataset
) -> Beside:
    """Both on all test images; where their classes differ, on the images and by the classes that both know."""
    if champion.contract != challenger.contract and (common := find_common(challenger.card, champion.card)):
        return compare_changed(challenger, champion, common, test, dataset)
    others, performance = perform(champion, test, dataset)
    return Beside(test.labels, answers, others, performance)


def perform(model: Classifier, test: Examples, dataset: Dataset) -> tuple[Answers, Performance]:
    """Its answers, image by image, and what they come to.

    Raises:
        ModelError: it is of another contract than the dataset, or a logit is not finite.
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
        bytes=sum(weight.nbytes for weight in model.network.parameters()),
    )
    temperature = model.card.calibration.temperature
    return to_answers(logits, test.labels, temperature, clean, disturbed), performance


def _time(work: Callable[[], object], turns: int) -> float:
    """Seconds, median, on one thread as in the service, after one turn that is not counted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work()
        times = [time.perf_counter()]
        for _ in range(turns):
            work()
            times.append(time.perf_counter())
    finally:
        torch.set_num_threads(threads)
    return median(np.diff(times).tolist())


def _count_leaked(dataset: Dataset, test: Examples) -> int:
    """Test images, byte for byte, among the training images."""
    unseen = {image.tobytes() for image in test.images}
    return sum(image.tobytes() in unseen for image in read_split(dataset, "train").images)


def _find_fault(dataset: Dataset, card: ModelCard) -> str:
    """What is wrong with the receipt that the model was trained with; "" nothing."""
    try:
        receipt = check_receipt(dataset)
    except DatasetError as error:
        return str(error)
    if not card.expectations or receipt.expectations < card.expectations:
        return (
            f"dataset {dataset.version} met {receipt.expectations} expectations, the model's says {card.expectations}"
        )
    return ""


def _compare_probes(model: Classifier, test: Examples) -> float:
    """How far the probabilities are from those right after the training, at most; infinite where there is no record."""
    rows = {name: row for row, name in enumerate(test.ids)}
    probes = [probe for probe in model.card.probes if probe.id in rows]
    if not probes or len(probes) < len(model.card.probes):
        return float("inf")
    now = predict(model, test.images[[rows[probe.id] for probe in probes]]).probabilities
    return float(np.abs(now - np.array([probe.probabilities for probe in probes])).max())


def _find_best(card: ModelCard, live: Move | None) -> float:
    """The highest accuracy of what is live and was before, on the test split of this card."""
    moves = [*earlier_moves(), *([live] if live else [])]
    found = [move.accuracy for move in moves if move.accuracy and move.split_version == card.test.split_version]
    return max(found, default=0.0)
