"""The counts of one worker, in memory and in files that survive its end."""

import fcntl
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from components.files import temporary_name, whole_file
from components.shadow.counts import LIMITS, SEEN, PairCount, ProcessCounts


class Ledger:
    """What became of every image that one worker has seen of a champion. Its files are opened by the first `save`.

    `see` comes before `skip` and `add`, so that `seen` is never less than what is accounted for.
    """

    def __init__(self, folder: Path, name: str, champion: str, candidate: str) -> None:
        """Start counting.

        Args:
            folder: of the pair.
            name: of the files, unique to this ledger.
            champion: exact tag.
            candidate: exact tag.
        """
        self.folder, self.name, self.champion, self.candidate = folder, name, champion, candidate
        self.since = _now()
        self.seen = self.mirrored = self.champion_sure = self.candidate_sure = self.both_sure = 0
        self.skipped, self.pairs = Counter[str](), Counter[tuple[str, str, bool]]()
        self.seconds, self.cpu_seconds, self.error = [0] * (len(LIMITS) + 1), 0.0, ""
        self._file: int | None = None
        self._saved_seen = -1
        self._saved: tuple[int, int, str] | None = None

    @property
    def waiting(self) -> int:
        """Images that are neither mirrored nor skipped."""
        return self.seen - self.mirrored - self.skipped.total()

    def see(self, images: int) -> None:
        """Count images that the champion answered."""
        self.seen += images

    def skip(self, reason: str, images: int) -> None:
        """Count images that the candidate does not classify."""
        if images:
            self.skipped[reason] += images

    def add(self, found: Mapping[str, Any]) -> None:
        """Count what the candidate's process found for a batch, see `components.shadow.comparing`."""
        for champion, candidate, images, same in found["pairs"]:
            self.pairs[champion, candidate, same] += images
            self.mirrored += images
        self.champion_sure += found["champion_sure"]
        self.candidate_sure += found["candidate_sure"]
        self.both_sure += found["both_sure"]
        self.seconds = [mine + more for mine, more in zip(self.seconds, found["seconds"], strict=True)]
        self.cpu_seconds += found["cpu_seconds"]

    def save_seen(self) -> None:
        """Write how many images were seen: eight bytes, in place. Before the first `save`, nothing is written.

        Raises:
            OSError: the disk fails.
        """
        if self._file is not None and self.seen != self._saved_seen:
            seen = self.seen
            os.pwrite(self._file, SEEN.pack(seen), 0)
            self._saved_seen = seen

    def counts(self) -> ProcessCounts:
        """The counts so far."""
        pairs = (PairCount(left, right, images, same) for (left, right, same), images in self.pairs.items())
        return ProcessCounts(
            champion=self.champion,
            candidate=self.candidate,
            since=self.since,
            until=_now(),
            mirrored=self.mirrored,
            skipped=dict(self.skipped),
            pairs=tuple(pairs),
            champion_sure=self.champion_sure,
            candidate_sure=self.candidate_sure,
            both_sure=self.both_sure,
            seconds=tuple(self.seconds),
            cpu_seconds=self.cpu_seconds,
            error=self.error,
        )

    def save(self, counts: ProcessCounts) -> None:
        """Write counts, if they differ from the last ones.

        Raises:
            OSError: the disk fails.
        """
        state = counts.mirrored, sum(counts.skipped.values()), counts.error
        if state != self._saved:
            # A power cut may damage the file, which `read_counts` reports. A flush would make other writers wait.
            with whole_file(self._path(".json"), flush=False) as temporary:
                temporary.write_bytes(orjson.dumps(asdict(counts)))
            self._saved = state
        if self._file is None:
            self._file = self._open()
        self.save_seen()

    def close(self) -> None:
        """Write the counts and release the lock, after which images that still wait count as lost."""
        with suppress(OSError):
            self.save(self.counts())
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        """Create the file of `seen`, locked before it has its name: a reader takes it for that of a dead process."""
        temporary = self.folder / temporary_name(f"{self.name}.seen")
        file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.pwrite(file, SEEN.pack(self.seen), 0)
            os.replace(temporary, self._path(".seen"))
        except OSError:
            os.close(file)
            raise
        return file

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}{suffix}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
