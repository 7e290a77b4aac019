"""Fetch the official archives over HTTP.

A file appears under its own name only when it is whole and its checksum is right.
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

BACK_OFF = 1.0  # seconds before the second attempt, doubled for each further one
IDENTITY = {"Accept-Encoding": "identity"}
LARGEST = 64 << 20  # bytes; the largest archive has 26 million


def download_archives(settings: Settings) -> Path:
    """Fetch those of the four archives that `raw_dir` does not hold yet.

    Returns:
        `settings.raw_dir`, with all four files in it.

    Raises:
        SourceUnreachable: no mirror gave a file with the right checksum in `download_attempts` attempts.
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
                    raise SourceError(f"MD5 is {found}, expected {md5}")
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
            disable=None,  # silent where nobody looks
        ) as bar,
    ):
        answer.raise_for_status()
        for chunk in answer.iter_raw():  # whatever a server says of the encoding, the file is the gzip file
            bar.update(file.write(chunk))
            if file.tell() > LARGEST:
                raise SourceError(f"more than {LARGEST:,} bytes")
