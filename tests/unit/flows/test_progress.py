"""Progress without a terminal."""

import time

import pytest

from components.training.sweeps.candidates import Outcome
from flows.progress import CandidateBar


def test_a_sweep_logs_each_candidate_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    now = iter([0.0, 10.0, 30.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    bar = CandidateBar(2, lambda text, *values: lines.append(text % values))
    bar.update(Outcome("quick", 0, 0.9, 0.3, 6, 9.0, 100, "quick-0-ab"))
    bar.update(Outcome("quick", 1, None, None, 0, 0.0, 100, "quick-1-cd", "it diverged"))
    bar.close()
    assert lines == [
        "candidate 1 of 2: quick-0-ab: accuracy 0.9000; about 10 s left",
        "candidate 2 of 2: quick-1-cd: it diverged; about 0 s left",
    ]
