"""A local mirror of the archives, and synthetic archives in place of the official ones."""

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from components.catalogues import OFFICIAL
from components.catalogues.catalogue import ArchiveChecksums
from components.dataset import download
from components.dataset.archives import (
    FILES,
    md5_of,
)
from components.files import sha256_of
from components.settings import Settings


@pytest.fixture
def sample_is_official(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the checksums of the synthetic archives the official ones."""
    for file in FILES:
        path = archives / file
        unpacked = hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        checksums = ArchiveChecksums(md5_of(path), sha256_of(path), unpacked)
        monkeypatch.setitem(cast("dict[str, ArchiveChecksums]", OFFICIAL.checksums), file, checksums)


@dataclass(frozen=True)
class Answer:
    """The mirror's response to one request."""

    body: bytes = b""
    status: int = 200
    declared: int | None = None  # Content-Length; None: the body's
    encoding: str = ""  # Content-Encoding; empty: none


def describe_case(case: object) -> str:
    """A short ID for a test case."""
    return f"{case.status}-{case.body.decode()}" if isinstance(case, Answer) else str(case)


@dataclass
class Mirror:
    """A local web server. Each file has a queue of answers, the last of which repeats; other files are not found."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        queue = self.answers.get(path.rsplit("/", 1)[-1], [Answer(status=404)])
        return queue.pop(0) if len(queue) > 1 else queue[0]


@pytest.fixture
def mirror(archives: Path) -> Iterator[Mirror]:
    """A mirror with the synthetic archives."""
    mirror = Mirror({file: [Answer((archives / file).read_bytes())] for file in FILES})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = mirror.answer(self.path)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) if answer.declared is None else answer.declared))
            if answer.encoding:
                self.send_header("Content-Encoding", answer.encoding)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield mirror
        server.shutdown()
        thread.join()


@pytest.fixture
def downloading(sample_is_official: None, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose only mirror is the local one."""
    monkeypatch.setattr(download, "BACK_OFF", 0.01)
    return Settings(data_dir=tmp_path / "data", mirrors=(mirror.url,), download_attempts=2, download_timeout=5)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()
