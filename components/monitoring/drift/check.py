"""The live model's profile and what was predicted lately -> whether traffic has drifted."""

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

MAX_ROWS = 2_000_000  # of a batch, 100 MB


@dataclass(frozen=True)
class DriftCheck:
    """What came of holding traffic, or a batch, against a model's profile."""

    model: str
    contract: DataContract  # the model's
    source: str  # the log's folder or the batch's file
    checked_at: str  # ISO 8601, UTC
    windows: tuple[Window, ...]  # newest first; of a batch one
    verdict: Verdict
    needed: int  # windows that must drift
    of: int  # among so many
    others: int = 0  # images that another model answered
    unreadable: int = 0  # lines that are none of the log's

    @property
    def judged(self) -> tuple[Window, ...]:
        """Those that the verdict is made of, newest first."""
        return tuple(window for window in self.windows if window.features)[: self.of]

    @property
    def drifted(self) -> tuple[str, ...]:
        """The features that drifted in any of these, most often first."""
        return tuple(name for name, _ in Counter(name for one in self.judged for name in one.drifted).most_common())

    @property
    def repeats(self) -> float:
        """The share of the images that had been there before in their window, 0 to 1."""
        lines = sum(window.lines for window in self.windows)
        return 1 - sum(window.images for window in self.windows) / lines if lines else 0.0

    def to_json(self) -> dict[str, Any]:
        """All of it but the contract."""
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
        told = asdict(self)
        del told["contract"]
        return {**told, "drifted": self.drifted, "repeats": self.repeats, "windows": windows}


def check_live(hours: int = 24, until: float | None = None, bounds: DriftBounds | None = None) -> DriftCheck:
    """Hold what the live model answered lately against its profile.

    Args:
        hours: how far back to look.
        until: seconds since 1970; None: now.
        bounds: None: from the environment.

    Raises:
        NoLiveModel: nothing is live.
        ModelError: the live model has no profile, or is damaged.
        SettingsError: no prediction log is kept.
    """
    bounds, until = bounds or load_bounds(), time.time() if until is None else until
    model = live_move().tag
    contract, profile = reference_of(model)
    folder = log_folder(home())
    if folder is None:
        raise SettingsError("FASHION_PREDICTION_LOG=off: no prediction log is kept, so there is nothing to look at")
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
    """Hold a batch against a model's profile: one window, which speaks for itself.

    Args:
        model: exact tag.
        source: what the batch is called.
        parts: its images, different ones where `hash` tells them apart.
        measures: those that are known of them.
        bounds: None: from the environment.

    Raises:
        ModelError: the model has no profile.
        InputError: more rows than are looked at.
    """
    bounds = bounds or load_bounds()
    contract, profile = reference_of(model)
    kept, lines = [np.zeros(0, SEEN)], 0
    for part in parts:
        lines += len(part)
        if lines > MAX_ROWS:
            raise InputError(str(source), f"more than {MAX_ROWS:,} rows; a sample of them tells as much")
        kept.append(part)
    now = time.time()
    window = look_at(profile, contract.classes, bounds, np.concatenate(kept), now, now, measures)
    return DriftCheck(model, contract, str(source), to_iso(now), (window,), window.verdict, 1, 1)


def reference_of(tag: str) -> tuple[DataContract, Profile]:
    """What a model is about, and what its traffic should look like.

    Raises:
        ModelNotFound, ModelError: no such model, or it has none.
    """
    card = describe_stored(tag)
    if card.profile is None:
        raise ModelError(
            f"{tag} has no profile: it was stored by an earlier version; 'fashion train' makes one that has"
        )
    return card.contract, card.profile


def to_iso(seconds: float) -> str:
    """Seconds since 1970 -> ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
