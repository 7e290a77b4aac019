"""A temporary Prefect server for one command. It ends with the command and removes its folder.

    python -P ops/temporary_server.py FOLDER SOCKET TEMPLATE

This file runs as a standalone script and imports no other module of this project. Standard input carries no data; it
closes when the command ends, for whatever reason. A line on standard output reports that the server is ready.

Migrating an empty database takes half of the startup time, so TEMPLATE holds a copy of a migrated one.
"""

import contextlib
import gc
import os
import shutil
import socket
import sqlite3
import sys
import threading
from pathlib import Path
from typing import NoReturn

import uvicorn

TRIES = 20  # to remove the folder, in which the database may still create files


class Server(uvicorn.Server):
    """uvicorn's server, which reports when it is ready."""

    database: Path
    template: Path

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, save the migrated database as the template, and report readiness."""
        await super().startup(sockets)
        if self.started:
            if not self.template.exists():
                with contextlib.suppress(OSError, sqlite3.Error):
                    keep(self.database, self.template)
            print("started", flush=True)


def main(folder: Path, descriptor: int, template: Path) -> None:
    """Serve until standard input closes."""
    threading.Thread(target=end_with_input, args=(folder,), daemon=True).start()
    database = folder / "prefect.db"
    if is_sound(template):
        shutil.copyfile(template, database)
    else:
        template.unlink(missing_ok=True)
    gc.disable()  # collections take a quarter of the time of the import, and find nothing
    from prefect.server.api.server import create_app

    gc.enable()
    server = Server(uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error", lifespan="on"))
    server.database, server.template = database, template
    try:
        server.run(sockets=[socket.socket(fileno=descriptor)])
    finally:
        if not server.started:
            template.unlink(missing_ok=True)  # it may be incompatible
        os._exit(1)  # the thread would block a normal exit


def end_with_input(folder: Path) -> NoReturn:
    """Wait until standard input closes, then remove the folder and exit."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    end(folder)


def end(folder: Path) -> NoReturn:
    """Remove the folder and exit."""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
    os._exit(0)


def is_sound(database: Path) -> bool:
    """Whether a file is an intact database."""
    if not database.is_file():
        return False
    try:
        with contextlib.closing(sqlite3.connect(database)) as opened:
            return bool(opened.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def keep(database: Path, template: Path) -> None:
    """Copy a database that is in use, atomically."""
    template.parent.mkdir(parents=True, exist_ok=True)
    temporary = template.with_name(f".{template.name}.{os.getpid()}-00000000.tmp")
    try:
        with (
            contextlib.closing(sqlite3.connect(database)) as read,
            contextlib.closing(sqlite3.connect(temporary)) as written,
        ):
            read.backup(written)
        os.replace(temporary, template)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
