"""Download the official archives over HTTP.

A file appears under its final name only once it is complete and its checksum matches.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from tqdm import tqdm

from components.catalogues import OFFICIAL
from components.dataset.archives import md5_of
from components.errors import SourceError, SourceUnreachable
from components.files import DAY, remove_leftovers, whole_file
from components.settings import Settings

BACK_OFF = 1.0  # seconds before the second attempt, doubled for each further attempt
IDENTITY = {"Accept-Encoding": "identity"}
LARGEST = 64 << 20  # bytes; the largest archive has 26 million


def download_archives(settings: Settings) -> Path:
    """Download the archives that `raw_dir` does not have yet.

    Returns:
        `settings.raw_dir`, which then contains all four files.

    Raises:
        SourceUnreachable: no mirror returned a file with the right checksum within `download_attempts` attempts.
    """
    mirrors = settings.mirrors or OFFICIAL.mirrors
    remove_leftovers(settings.raw_dir, older_than=DAY)
    for file, official in OFFICIAL.checksums.items():
        path = settings.raw_dir / file
        if not (path.is_file() and md5_of(path) == official.md5):
            _fetch(path, official.md5, mirrors, settings)
    return settings.raw_dir


def _fetch(path: Path, md5: str, mirrors: Sequence[str], settings: Settings) -> None:
    failures = []
    for attempt in range(settings.download_attempts):
        if attempt:
            time.sleep(BACK_OFF * 2 ** (attempt - 1))
        url = mirrors[attempt % len(mirrors)].rstrip("/") + "/" + path.name
        try:
            with whole_file(path) as temporary:
                _stream(url, temporary, settings.download_timeout)
                if (found := md5_of(temporary)) != md5:
                    raise SourceError(f"found MD5 {found}, expected {md5}")
                return
        except (httpx.HTTPError, SourceError) as error:
            failures.append(f"{url}: {error or type(error).__name__}")
    raise SourceUnreachable(f"{path.name} could not be downloaded: {'; '.join(dict.fromkeys(failures))}")


def _stream(url: str, path: Path, timeout: float) -> None:
    with (
        httpx.stream("GET", url, headers=IDENTITY, timeout=timeout, follow_redirects=True) as answer,
        path.open("wb") as file,
        tqdm(
            desc=url.rsplit("/", 1)[-1],
            total=int(answer.headers.get("content-length", 0)) or None,
            unit="B",
            unit_scale=True,
            disable=None,  # silent unless on a terminal
        ) as bar,
    ):
        answer.raise_for_status()
        for chunk in answer.iter_raw():  # ignore Content-Encoding: the file itself is gzipped
            bar.update(file.write(chunk))
            if file.tell() > LARGEST:
                raise SourceError(f"larger than {LARGEST:,} bytes")
