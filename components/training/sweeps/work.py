"""Runs one training of a sweep in a separate process.

PyTorch's random generator is global to a process: two trainings in threads would share it, and seeds would not be
reproducible. A separate process also keeps a training that runs out of memory from taking the others down.

    python -m components.training.sweeps.work < CANDIDATE        writes the training to the folder named in CANDIDATE
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from components.contract import Validated
from components.errors import FashionError
from components.settings import CHECKOUT
from components.training.presets import configure
from components.training.sweeps.candidates import Candidate, Outcome, failed_outcome
from components.training.sweeps.kept import keep_trained, kept_path, read_trained, trained_outcome
from components.training.train import train

MAX_ERROR = 300  # characters


def train_candidate(candidate: Candidate, validated: Validated, folder: Path, resume: bool = False) -> Outcome:
    """Train a candidate in a separate process. A failed training gives an outcome with the error.

    Args:
        candidate: The candidate to train.
        validated: Receipt of the validation of its dataset.
        folder: Folder for the finished training.
        resume: Reuse a finished training, or resume an unfinished one.

    Raises:
        TrainingError: The finished training on disk is damaged.
    """
    path = kept_path(folder, candidate)
    if not (resume and path.is_file()):
        path.unlink(missing_ok=True)
        job = {"preset": candidate.preset, "fields": _fields(candidate), "validated": asdict(validated)}
        given = json.dumps({**job, "folder": str(folder), "resume": resume}, default=str)
        command = [sys.executable, "-m", "components.training.sweeps.work"]
        done = subprocess.run(command, input=given, cwd=CHECKOUT, capture_output=True, text=True)
        if done.returncode:
            error = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
            return failed_outcome(candidate, error[:MAX_ERROR])
    return trained_outcome(candidate, read_trained(path, candidate))


def main() -> None:
    """Train the candidate given on standard input."""
    job = json.load(sys.stdin)
    validated = TypeAdapter(Validated).validate_python(job["validated"])
    candidate = Candidate(job["preset"], configure(job["preset"], job["fields"]), validated.dataset)
    folder = Path(job["folder"])
    try:
        trained = train(validated, candidate.config, keep_in=folder, resume=job["resume"])
    except FashionError as error:
        sys.exit(str(error))
    keep_trained(kept_path(folder, candidate), trained)


def _fields(candidate: Candidate) -> dict[str, Any]:
    fields = asdict(candidate.config)
    return {**fields.pop("model"), **fields}


if __name__ == "__main__":
    main()
