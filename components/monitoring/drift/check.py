"""Check whether recent traffic, or a batch, has drifted from a model's profile."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from components.contract import DataContract, Profile
from components.errors import InputError, ModelError, SettingsError
from components.evaluation.profile import SEEN, Seen
from components.monitoring.drift.bounds import DriftBounds, load_bounds
from components.monitoring.drift.windows import HOUR, Verdict, Window, judge_windows, look_at, weigh
from components.monitoring.prediction_log import log_folder
from components.monitoring.reading import read_log
from components.readers.images.statistics import MEASURES
from components.registry.champion import live_move
from components.registry.store import describe_stored, home

MAX_ROWS = 2_000_000  # per batch, 100 MB


@dataclass(frozen=True)
class DriftCheck:
    """The result of comparing traffic, or a batch, with a model's profile."""

    model: str
    contract: DataContract  # the model's
    source: str  # folder of the log, or file of the batch
    checked_at: str  # ISO 8601, UTC
    windows: tuple[Window, ...]  # newest first; one for a batch
    verdict: Verdict
    needed: int  # number of windows that must drift
    of: int  # number of newest windows evaluated
    others: int = 0  # images answered by another model
    unreadable: int = 0  # invalid lines in the log

    @property
    def judged(self) -> tuple[Window, ...]:
        """The windows behind the verdict, newest first."""
        return tuple(window for window in self.windows if window.features)[: self.of]

    @property
    def drifted(self) -> tuple[str, ...]:
        """The features that drifted in any judged window, most frequent first."""
        return tuple(name for name, _ in Counter(name for one in self.judged for name in one.drifted).most_common())

    @property
    def repeats(self) -> float:
        """Share of images that repeat an earlier one in their window, 0 to 1."""
        lines = sum(window.lines for window in self.windows)
        return 1 - sum(window.images for window in self.windows) / lines if lines else 0.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, without the contract."""
        windows = [
            {
                **asdict(window),
                "since": to_iso(window.since),
                "until": to_iso(window.until),
                "verdict": window.verdict,
                "features": [asdict(feature) | {"drifted": feature.drifted} for feature in window.features],
            }
            for window in self.windows
        ]
        fields = asdict(self)
        del fields["contract"]
        return {**fields, "drifted": self.drifted, "repeats": self.repeats, "windows": windows}


def check_live(hours: int = 24, until: float | None = None, bounds: DriftBounds | None = None) -> DriftCheck:
    """Compare the live model's recent predictions with its profile.

    Args:
        hours: how far to look back.
        until: end of the period, seconds since 1970; None: now.
        bounds: settings; None: from the environment.

    Raises:
        NoLiveModel: no model is live.
        ModelError: the live model is damaged or has no profile.
        SettingsError: the prediction log is off.
    """
    bounds, until = bounds or load_bounds(), time.time() if until is None else until
    model = live_move().tag
    contract, profile = reference_of(model)
    folder = log_folder(home())
    if folder is None:
        raise SettingsError("FASHION_PREDICTION_LOG=off: the drift check needs the prediction log; turn it on")
    reading = read_log(folder, model, len(contract.classes), until - hours * HOUR, until)
    windows = judge_windows(profile, contract.classes, reading.seen, until, hours, bounds)
    return DriftCheck(
        model=model,
        contract=contract,
        source=str(folder),
        checked_at=to_iso(until),
        windows=windows,
        verdict=weigh(windows, bounds),
        needed=bounds.drifting,
        of=bounds.windows,
        others=reading.others,
        unreadable=reading.unreadable,
    )


def check_batch(
    model: str,
    source: Path,
    parts: Iterable[Seen],
    measures: tuple[str, ...] = MEASURES,
    bounds: DriftBounds | None = None,
) -> DriftCheck:
    """Compare a batch with a model's profile. A batch is one window, and its verdict counts alone.

    Args:
        model: exact tag.
        source: name of the batch.
        parts: rows of the batch; rows with the same `hash` count once.
        measures: measures available in `parts`.
        bounds: settings; None: from the environment.

    Raises:
        ModelError: the model has no profile.
        InputError: the batch has more than 2,000,000 rows.
    """
    bounds = bounds or load_bounds()
    contract, profile = reference_of(model)
    kept, lines = [np.zeros(0, SEEN)], 0
    for part in parts:
        lines += len(part)
        if lines > MAX_ROWS:
            raise InputError(str(source), f"more than {MAX_ROWS:,} rows; check a sample of them instead")
        kept.append(part)
    now = time.time()
    window = look_at(profile, contract.classes, bounds, np.concatenate(kept), now, now, measures)
    return DriftCheck(model, contract, str(source), to_iso(now), (window,), window.verdict, 1, 1)


def reference_of(tag: str) -> tuple[DataContract, Profile]:
    """Return the contract and the profile of a model.

    Raises:
        ModelNotFound, ModelError: the model does not exist, is damaged, or has no profile.
    """
    card = describe_stored(tag)
    if card.profile is None:
        raise ModelError(f"{tag} has no profile: it was stored by an earlier version. Train a new one: 'fashion train'")
    return card.contract, card.profile


def to_iso(seconds: float) -> str:
    """Convert seconds since 1970 to ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
