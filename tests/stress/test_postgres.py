"""The local stack with Prefect's data in PostgreSQL, as docs/operations.md describes for several machines."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it comes with Prefect
import pytest
from postgres import postgres
from stacks import QUICK, Stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as address:
        yield address


@pytest.fixture(scope="module")
def kept_there(archives: Path, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack.prepare(tmp_path_factory.mktemp("postgres"), archives)
    there = {"PREFECT_API_DATABASE_CONNECTION_URL": database}
    stack = dataclasses.replace(stack, environment=stack.environment | there)
    try:
        done = stack.fashion("up")
        assert done.returncode == 0, done.stderr
        yield stack
    finally:
        stack.fashion("down")


def count(database: str, table: str) -> int:
    """Return the number of rows of a table."""

    async def ask() -> int:
        connection = await asyncpg.connect(database.replace("+asyncpg", ""))
        try:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_a_scheduled_training_goes_live_and_is_recorded_in_the_database(kept_there: Stack, database: str) -> None:
    assert all(piece.is_well for piece in kept_there.pieces().values()), kept_there.pieces()
    run = kept_there.start_run("training/nightly", QUICK)
    assert kept_there.end_of(run) == "Completed", kept_there.log("worker").read_text()
    (model,) = json.loads(kept_there.fashion("models", "--json").stdout)
    assert model["live"]
    assert count(database, "deployment") > 3
    assert count(database, "artifact") > 3
    assert count(database, f"flow_run WHERE id = '{run}' AND state_type = 'COMPLETED'") == 1
    assert count(database, "flow_run WHERE state_type = 'SCHEDULED'") > 0, "the schedules' next runs"
    assert not list((kept_there.data / "prefect").glob("*.db*")), "nothing is in SQLite"


def test_the_data_survives_down_and_up(kept_there: Stack, database: str) -> None:
    """Runs after the training above."""
    before = count(database, "flow_run WHERE state_type = 'COMPLETED'")
    assert kept_there.fashion("down").returncode == 0
    assert not kept_there.processes()
    done = kept_there.fashion("up")
    assert done.returncode == 0, done.stderr
    assert count(database, "flow_run WHERE state_type = 'COMPLETED'") == before > 0
    assert kept_there.fashion("down").returncode == 0
    assert not kept_there.processes()
    assert not [path for path in kept_there.data.glob("logs/*") if "Traceback" in path.read_text()]
