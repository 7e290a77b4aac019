"""The flow that trains several presets with several seeds and picks the best by validation accuracy."""

from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.logging import get_run_logger
from pydantic import Field

from components.contract import Validated
from components.errors import TrainingError
from components.evaluation.card import write_card
from components.files import require_writable
from components.registry.store import home, save_model
from components.settings import load_settings
from components.training.sweeps.candidates import Candidate, Outcome, list_candidates, sort_outcomes, sweeps_folder
from components.training.sweeps.kept import kept_path, read_trained
from components.training.sweeps.work import train_candidate
from flows.parts import make_runner
from flows.progress import CandidateBar
from flows.training import ingest_data, validate_data


@dataclass(frozen=True)
class Sweep:
    """Result of a sweep."""

    outcomes: list[Outcome]  # best first
    saved: str = ""  # exact tag of the best model, if saved
    test_accuracy: float | None = None  # of the saved model only, evaluated after it was chosen


@task(name="train-candidate", task_run_name="{candidate.key}", cache_policy=NO_CACHE, persist_result=False)
def train_one(candidate: Candidate, validated: Validated, resume: bool) -> Outcome:
    """Train one candidate. A failure is recorded in its outcome."""
    return train_candidate(candidate, validated, sweeps_folder(load_settings().checkpoints_dir), resume)


@flow(name="sweep")
def sweep(
    presets: tuple[str, ...],
    seeds: tuple[int, ...] = (0,),
    overrides: dict[str, Any] | None = None,
    workers: Annotated[int, Field(ge=1, le=256)] = 2,
    source: str = "",
    sample_fallback: bool = False,
    save: bool = False,
    resume: bool = False,
) -> Sweep:
    """Train every preset with every seed. The validation rows choose; only a saved winner reads the test split.

    Args:
        presets: Names of presets.
        seeds: Random seeds.
        overrides: Field of the preset -> value, for all trainings.
        workers: Number of parallel trainings.
        source: auto, download, sample, or a path. Empty: FASHION_SOURCE.
        sample_fallback: Use the synthetic sample if no data can be reached.
        save: Store the best model, without the evaluation gate.
        resume: Reuse finished trainings of an earlier sweep and resume unfinished ones.

    Raises:
        TrainingError: every training failed.
    """
    require_writable(load_settings().data_dir, home())
    validated = validate_data(ingest_data(source, sample_fallback))
    candidates = list_candidates(presets, seeds, overrides or {}, validated.dataset)
    with make_runner(workers) as runner:
        parameters = [{"candidate": one, "validated": validated, "resume": resume} for one in candidates]
        futures = [runner.submit(train_one, parameters=one) for one in parameters]
        outcomes = []
        with closing(CandidateBar(len(futures), get_run_logger().info)) as bar:
            for future in as_completed(futures):
                outcomes.append(future.result())
                bar.update(outcomes[-1])
    outcomes = sort_outcomes(outcomes)
    create_table_artifact([asdict(one) for one in outcomes], key="sweep", description=f"{len(outcomes)} trainings")
    if outcomes[0].error:
        raise TrainingError(f"all {len(outcomes)} trainings failed; first error: {outcomes[0].error}")
    if not save:
        return Sweep(outcomes)
    best = next(one for one in candidates if one.key == outcomes[0].key)
    return save_best(outcomes, best, validated)


def save_best(outcomes: list[Outcome], best: Candidate, validated: Validated) -> Sweep:
    """Evaluate the winner on the test split and store it."""
    folder = sweeps_folder(load_settings().checkpoints_dir)
    trained = read_trained(kept_path(folder, best), best)
    card = write_card(best.preset, validated, trained)
    return Sweep(outcomes, save_model(trained.network, card), card.test.accuracy)
