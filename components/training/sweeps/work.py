"""One training of a sweep, in a process of its own.

PyTorch's random generator is one a process: two trainings in the threads of one would draw from it in turns, and no
seed would mean anything. Nor does a training that runs out of memory take the others with it.

    python -m components.training.sweeps.work < CANDIDATE        leaves the training in the folder that it names
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

LAST = 300  # characters of an error


def train_candidate(candidate: Candidate, validated: Validated, folder: Path, resume: bool = False) -> Outcome:
    """Train in a process of its own; a training that fails is a row that says why.

    Args:
        candidate: what is trained.
        validated: the receipt of its dataset.
        folder: where it is kept.
        resume: take what is there, done or half done.

    Raises:
        TrainingError: what is there is damaged.
    """
    path = kept_path(folder, candidate)
    if not (resume and path.is_file()):
        path.unlink(missing_ok=True)
        job = {"preset": candidate.preset, "fields": _fields(candidate), "validated": asdict(validated)}
        given = json.dumps({**job, "folder": str(folder), "resume": resume}, default=str)
        command = [sys.executable, "-m", "components.training.sweeps.work"]
        done = subprocess.run(command, input=given, cwd=CHECKOUT, capture_output=True, text=True)
        if done.returncode:
            told = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
            return failed_outcome(candidate, told[:LAST])
    return trained_outcome(candidate, read_trained(path, candidate))


def main() -> None:
    """Do what came on standard input."""
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
