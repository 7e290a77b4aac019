"""A Prefect server for one command, in a folder of its own. It ends with that command, and removes the folder.

    python -P ops/temporary_server.py FOLDER SOCKET TEMPLATE

It stands alone: it is started as a script, and imports nothing of ours. Standard input brings nothing; its end is the
end of the command, however that came about. A line on standard output says that the server answers.

Migrating an empty database takes as long as all the rest. TEMPLATE is a copy of one that was migrated.
"""

import contextlib
import os
import shutil
import socket
import sqlite3
import sys
import threading
from pathlib import Path
from typing import NoReturn

import uvicorn

TRIES = 20  # to remove a folder in which the database may just be making a file


class Server(uvicorn.Server):
    """Uvicorn's, which says when it has started."""

    database: Path
    template: Path

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, keep the migrated database for the next time, and say so."""
        await super().startup(sockets)
        if self.started:
            if not self.template.exists():
                with contextlib.suppress(OSError, sqlite3.Error):
                    keep(self.database, self.template)
            print("started", flush=True)


def main(folder: Path, descriptor: int, template: Path) -> None:
    """Serve until standard input ends."""
    threading.Thread(target=end_with_input, args=(folder,), daemon=True).start()
    database = folder / "prefect.db"
    if is_sound(template):
        shutil.copyfile(template, database)
    else:
        template.unlink(missing_ok=True)
    from prefect.server.api.server import create_app

    server = Server(uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error", lifespan="on"))
    server.database, server.template = database, template
    try:
        server.run(sockets=[socket.socket(fileno=descriptor)])
    finally:
        if not server.started:
            template.unlink(missing_ok=True)  # it may be a database of another kind
        os._exit(1)  # the thread would hold up an ordinary end


def end_with_input(folder: Path) -> NoReturn:
    """Wait for the end of standard input, then end this process, and nothing stays of it."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    end(folder)


def end(folder: Path) -> NoReturn:
    """End this process, and nothing stays of it."""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
    os._exit(0)


def is_sound(database: Path) -> bool:
    """Whether a file is a database that can be read."""
    if not database.is_file():
        return False
    try:
        with contextlib.closing(sqlite3.connect(database)) as opened:
            return bool(opened.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def keep(database: Path, template: Path) -> None:
    """Copy a database that is in use; the copy appears whole or not at all."""
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
