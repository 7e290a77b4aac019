"""The Prefect server of a command that runs a flow: the one that PREFECT_API_URL names, or a temporary one.

A temporary server is the command's own: nothing that its user has set up in Prefect matters to it, neither profiles nor
homes, nor a `prefect.toml` or `.env` in the current folder.
"""

import atexit
import contextlib
import importlib.metadata
import io
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, cast

import pydantic

from components.errors import SettingsError, StackError
from components.settings import load_settings
from ops import temporary_server
from ops.environment import DEFAULTS
from ops.stopping import stop

START = 120.0  # seconds for a temporary server to answer: it may migrate its database on a machine that is busy
ASK = 10.0  # seconds for the answer of a server that runs
KEPT = ("PREFECT_LOGGING_", *DEFAULTS)  # variables of a user that hold with a temporary server too
SOURCES = (
    "They are the variables PREFECT_*, profiles.toml in PREFECT_HOME, "
    "and prefect.toml, pyproject.toml and .env in the current folder"
)
UVICORN = "Application startup failed"  # its last line, which says nothing
LOOPBACK = "127.0.0.1"


def use_server() -> "NamedServer | TemporaryServer":
    """Have a server for this process. To be called before Prefect is imported, which reads its settings then."""
    url = os.environ.get("PREFECT_API_URL")
    return NamedServer(url) if url else TemporaryServer()


class NamedServer:
    """A server that runs already. What its user has set up in Prefect holds: a key, a profile, a home."""

    def __init__(self, url: str) -> None:
        """Check that it can be used.

        Raises:
            StackError: it does not answer.
            SettingsError: Prefect's settings cannot be read, or its home cannot be written.
        """
        _check(url)
        _read_settings()
        from prefect.settings import PREFECT_HOME

        home = PREFECT_HOME.value()
        try:
            tempfile.TemporaryFile(dir=home).close()
        except OSError as error:
            told = f"PREFECT_HOME cannot be written, where Prefect keeps results: {home}: {error.strerror}"
            raise SettingsError(told) from error

    def wait(self) -> None:
        """It answers already."""


def _check(url: str) -> None:
    import httpx

    from flows.notify.redact import redact

    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=ASK)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        found = (str(error) or type(error).__name__).rstrip(".")
    else:
        if answer.status_code < 500:
            return
        found = f"status {answer.status_code}"
    raise StackError(
        f"no Prefect server answers at {redact(url)}, which the variable PREFECT_API_URL names: {found}. "
        "Start it ('make up' starts one here), or unset PREFECT_API_URL to do without"
    )


def _read_settings() -> None:
    """Import the part of Prefect that reads its settings, which also prints a page about those that cannot be used."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            import prefect.context  # noqa: F401
    except Exception as error:
        raise SettingsError(f"Prefect's settings cannot be read: {_one_line(error)}. {SOURCES}") from error
    sys.stderr.write(printed.getvalue())


def _one_line(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        (first, *_) = error.errors()
        return f"{error.title}, {'.'.join(map(str, first['loc']))}: {first['msg']}, found {first['input']!r}"
    return " ".join(str(error).split())


class TemporaryServer:
    """A server that this process starts, and that ends with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fashion-prefect-"))
        stop.last.append(self.remove_folder)
        atexit.register(self.remove_folder)
        with socket.create_server((LOOPBACK, 0)) as listening:
            self._set_environment(listening.getsockname()[1])
            self.process = self._start(listening)
        stop.spared.append(self.process.pid)
        stop.last.insert(0, self.close)
        atexit.register(self.close)  # before Prefect registers what it sends to the server in the end
        with contextlib.chdir(self.folder):  # where there are no settings to be found
            _read_settings()

    def _set_environment(self, port: int) -> None:
        for name in filter(_is_foreign, list(os.environ)):
            del os.environ[name]
        os.environ |= {
            "PREFECT_API_URL": f"http://{LOOPBACK}:{port}/api",
            "PREFECT_HOME": str(self.folder),
            "PREFECT_PROFILES_PATH": str(self.folder / "profiles.toml"),  # there is none
        }
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, (os.environ.get(name), LOOPBACK)))

    def _start(self, listening: socket.socket) -> "subprocess.Popen[bytes]":
        template = load_settings().data_dir / "cache" / f"prefect-{importlib.metadata.version('prefect')}.db"
        script = [sys.executable, "-P", temporary_server.__file__, str(self.folder), str(listening.fileno())]
        with (self.folder / "server.log").open("wb") as log:
            return subprocess.Popen(
                [*script, str(template)],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[listening.fileno()],
                start_new_session=True,  # Ctrl-C is for this process alone, which still has to tell it the end
            )

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            StackError: it does not start.
        """
        told = cast(IO[bytes], self.process.stdout)
        if not select.select([told], [], [], START)[0]:
            raise StackError(f"the temporary Prefect server does not answer within {START:.0f} s")
        if not told.readline():
            said = (self.folder / "server.log").read_text(errors="replace").splitlines()
            last = next((line.strip() for line in reversed(said) if line.strip() and UVICORN not in line), "nothing")
            raise StackError(f"the temporary Prefect server does not start; it says: {last}")

    def close(self) -> None:
        """End it. There is nothing that it would have to finish."""
        self.process.kill()
        self.process.wait()
        self.remove_folder()

    def remove_folder(self) -> None:
        """Remove what a server that was killed did not remove."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_foreign(name: str) -> bool:
    return name.startswith("PREFECT_") and not name.startswith(KEPT)
