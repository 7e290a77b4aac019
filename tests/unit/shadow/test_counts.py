"""The counts of several processes, some of which were killed, add up."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shadows import CANDIDATE, LIVE, SHADOW, counts_of

from components.registry.shadowed import RECORD, Shadow, write_shadow
from components.settings import CHECKOUT
from components.shadow.counts import (
    BUSY,
    KILLED,
    LIMITS,
    NOT_SAMPLED,
    WAITING,
    champions_of,
    pair_folder,
    read_counts,
    read_counts_of,
)
from components.shadow.ledger import Ledger

pytestmark = pytest.mark.usefixtures("bentoml_home")
FOUND = {
    "pairs": [["Bag", "Bag", 3, True], ["Bag", "Coat", 1, False]],
    "champion_sure": 3,
    "candidate_sure": 2,
    "both_sure": 1,
    "seconds": [4, *[0] * len(LIMITS)],
    "cpu_seconds": 0.5,
}


def open_ledger(name: str, live: str = LIVE) -> Ledger:
    return Ledger(pair_folder(SHADOW, live), name, live, CANDIDATE)


def filled(name: str, seen: int) -> Ledger:
    """A ledger with four mirrored and two skipped images, and the others waiting."""
    ledger = open_ledger(name)
    ledger.see(seen)
    ledger.add(FOUND)
    ledger.skip(BUSY, 2)
    ledger.save(ledger.counts())
    return ledger


def test_every_image_is_mirrored_or_skipped_for_one_reason() -> None:
    first, second = filled("1-a", 6), filled("2-b", 10)
    counts = read_counts_of(SHADOW, LIVE)
    assert counts
    assert (counts.seen, counts.mirrored, counts.skipped) == (16, 8, {BUSY: 4, WAITING: 4})
    assert (counts.same, counts.changed) == (6, 2)
    assert [(one.champion, one.candidate, one.images) for one in counts.pairs] == [
        ("Bag", "Bag", 6),
        ("Bag", "Coat", 2),
    ]
    assert (counts.champion_sure, counts.candidate_sure, counts.both_sure) == (6, 4, 2)
    assert (counts.seconds[0], counts.cpu_seconds) == (8, 1.0)
    first.close()
    second.close()
    assert read_counts_of(SHADOW, LIVE).skipped == {BUSY: 4, KILLED: 4}  # type: ignore[union-attr]


def test_what_a_killed_process_had_not_written_is_counted_as_lost() -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from components.shadow.ledger import Ledger\n"
        f"ledger = Ledger(Path({str(pair_folder(SHADOW, LIVE))!r}), '1-a', {LIVE!r}, {CANDIDATE!r})\n"
        f"ledger.see(5)\nledger.skip({NOT_SAMPLED!r}, 1)\nledger.save(ledger.counts())\n"
        f"ledger.see(7)\nledger.skip({NOT_SAMPLED!r}, 3)\nledger.save_seen()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False)
    assert done.returncode == -signal.SIGKILL
    counts = read_counts_of(SHADOW, LIVE)
    assert counts
    assert (counts.seen, counts.mirrored, counts.skipped) == (12, 0, {NOT_SAMPLED: 1, KILLED: 11})


def test_images_seen_after_the_counts_were_written_are_waiting() -> None:
    ledger = filled("1-a", 6)
    ledger.see(3)
    ledger.save_seen()
    counts = read_counts_of(SHADOW, LIVE)
    assert counts
    assert (counts.seen, counts.skipped[WAITING]) == (9, 3)
    ledger.close()


def test_damaged_counts_are_reported() -> None:
    filled("1-a", 6).close()
    filled("2-b", 6).close()
    path = pair_folder(SHADOW, LIVE) / "1-a.json"
    path.write_bytes(path.read_bytes()[:50])
    counts = read_counts_of(SHADOW, LIVE)
    assert counts
    assert (counts.unreadable, counts.seen) == (1, 6)


def test_each_champion_has_counts_of_its_own() -> None:
    other = "fashion-mlp:otherlive"
    filled("1-a", 6).close()
    ledger = open_ledger("1-b", other)
    ledger.see(1)
    ledger.close()
    assert [(one.champion, one.seen) for one in champions_of(SHADOW)] == [(LIVE, 6), (other, 1)]
    assert read_counts_of(SHADOW, "fashion-mlp:unseen11") is None


def test_the_newest_shadow_of_a_candidate_counts() -> None:
    write_shadow(SHADOW.folder / RECORD, SHADOW)
    filled("1-a", 6).close()
    assert read_counts(CANDIDATE, LIVE).seen == 6  # type: ignore[union-attr]
    assert read_counts(CANDIDATE) is None  # no model is live
    assert read_counts("fashion-mlp:another1", LIVE) is None
    newer = Shadow("20260102-000000-0123abcd", CANDIDATE, "0" * 64, 1.0, "2026-01-02T00:00:00+00:00", "anna", "again")
    write_shadow(newer.folder / RECORD, newer)
    assert read_counts(CANDIDATE, LIVE) is None


def test_a_quantile_of_the_time_is_an_upper_bound() -> None:
    seconds = (0, 90, 10, *[0] * (len(LIMITS) - 2))
    counts = counts_of(("Bag", "Bag", 100), seconds=seconds)
    assert (counts.seconds_at(0.5), counts.seconds_at(0.9), counts.seconds_at(0.99)) == (
        LIMITS[1],
        LIMITS[1],
        LIMITS[2],
    )
    assert counts_of().seconds_at(0.5) is None


def test_a_full_disk_is_an_error_of_the_ledger_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ledger = Ledger(tmp_path / "file" / "folder", "1-a", LIVE, CANDIDATE)
    ledger.see(1)
    ledger.save_seen()  # nothing is open yet
    with pytest.raises(OSError, match="file"):
        ledger.save(ledger.counts())
    ledger.close()
