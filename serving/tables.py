"""POST /score: a table goes to disk, and its rows through the model into an answer that is sent while it grows.

The answer has begun before the last row was looked at. What goes wrong after that can have no status of its own, so the
connection is closed before the answer's end: no client takes a part of it for the whole.
"""

import asyncio
import itertools
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import closing
from typing import BinaryIO, cast
from urllib.parse import quote

import anyio.to_thread
import numpy as np
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from components.catalogues import catalogue_of
from components.contract import DataContract
from components.errors import FashionError, InputError
from components.model.classifier import Classifier
from components.readers import formats
from components.readers.blocks import Block
from components.readers.tables.encodings import read_first
from components.readers.tables.kinds import HEAD
from components.scoring.sanity import Finding, inspect_images, refuse_wrong
from components.scoring.score import Score, score_blocks
from components.scoring.tables import CSV, TableFormat, answer_to, every_row, rejected_rows, table_schema
from serving.bodies import FORM, expect_type, spool_body
from serving.errors import RETRY_AFTER, Refusal
from serving.metrics import watch

log = logging.getLogger("bentoml.fashion")

MAX_REJECTS = 100_000  # rows of a table
DROP = "drop"  # the query parameter that names a column to leave out
ANSWER_TIMEOUT = 600  # seconds from the first byte of an answer to the last
INSPECTED, MAX_BLOCKS = 100, 8  # rows that are looked at before the answer begins, in so many blocks at most
PIECE = 256 << 10  # bytes of an answer sent at a time
TABLES_TOO = frozenset(  # which of the two it is, its first bytes say
    {
        FORM,
        "application/octet-stream",
        "application/csv",
        "application/x-csv",
        "text/x-csv",
        "text/comma-separated-values",
        "text/plain",
        "application/vnd.ms-excel",  # as Windows calls a .csv
    }
)

slots = asyncio.Semaphore(4)  # tables that arrive, wait or are scored, each on disk
one_table = asyncio.Lock()  # scoring one takes a whole core


class GrowingAnswer:
    """An answer on disk that one task fills and another sends, so that a slow client keeps no other table waiting."""

    def __init__(self) -> None:
        self.file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115, `TableResponse` closes it
        self.form = CSV  # until it is known
        self.size = 0  # bytes that may be sent
        self.whole = False
        self.error: BaseException | None = None  # why it will never be whole
        self.findings: tuple[Finding, ...] = ()  # about the first rows
        self.changed = asyncio.Event()

    def grow(self) -> None:
        """What was written and flushed may be sent."""
        self.size = os.fstat(self.file.fileno()).st_size
        self.changed.set()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing will be added."""
        self.whole, self.error = error is None, error
        self.changed.set()

    async def begun(self) -> None:
        """Wait for the first block. Raises what went wrong before."""
        while not (self.size or self.whole or self.error):
            await self._wait()
        if self.error and not self.size:
            raise self.error

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes as they come. Raises what went wrong, after the bytes before it."""
        sent = 0
        while sent < self.size or not self.whole:
            if sent < self.size:
                length = min(PIECE, self.size - sent)
                piece = os.pread(self.file.fileno(), length, sent)  # written just now, so that it is in memory still
                sent += len(piece)
                yield piece
            elif self.error:
                raise self.error
            else:
                await self._wait()

    async def _wait(self) -> None:
        self.changed.clear()
        await self.changed.wait()


class TableResponse(StreamingResponse):
    """Sends a growing answer, or what there is of it until something goes wrong."""

    def __init__(self, answer: GrowingAnswer, scoring: asyncio.Task[None], model: str, media_type: str) -> None:
        headers = {"X-Model": model}
        if answer.findings:
            warnings = [{"kind": one.kind, "reason": one.message} for one in answer.findings]
            headers["X-Warnings"] = orjson.dumps(warnings).decode()
        super().__init__(answer.pieces(), headers=headers, media_type=media_type)
        self.answer, self.scoring = answer, scoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. To return before its end makes the server close the connection."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self.stream_response(send)
        except ClientDisconnect:
            log.info("/score: the client left before its answer was whole")
        except TimeoutError:
            log.warning("/score: an answer broken off: not taken within %d s", ANSWER_TIMEOUT)
        except FashionError as error:
            log.warning("/score: an answer broken off: %s", error)
        finally:
            await _stop(self.scoring)
            self.answer.file.close()


async def score_table(request: Request, model: Classifier, wants_rejects: bool) -> Response:
    """The answer to a table, once its first rows are scored: all its rows, or those that could not be read.

    Raises:
        Refusal: another content type, or four tables are there already.
        InputError, ClientDisconnect, TimeoutError: before the first rows were scored, or these cannot be right.
    """
    asked = formats.format_called(expect_type(request, *formats.media_types(), also=TABLES_TOO))
    form = answer_to(asked) if asked else None
    if slots.locked():
        raise Refusal(429, "request", "too many tables at the same time; come back", RETRY_AFTER)
    await slots.acquire()
    answer = GrowingAnswer()
    scoring = asyncio.create_task(_fill(answer, request, model, form, wants_rejects))
    scoring.add_done_callback(lambda _: slots.release())
    try:
        await answer.begun()
    except BaseException:
        await _stop(scoring)
        answer.file.close()
        raise
    watch.warned(answer.findings)
    return TableResponse(answer, scoring, model.tag, answer.form.media_type)


async def _fill(
    answer: GrowingAnswer, request: Request, model: Classifier, form: TableFormat | None, wants_rejects: bool
) -> None:
    """Take a table in and score it, while its client stays."""
    try:
        with cast(BinaryIO, tempfile.TemporaryFile()) as table:
            await spool_body(request, table)
            answer.form = (form or _told_by_start(table)).without(request.query_params.getlist(DROP))
            await _while_connected(request, _score(answer, table, model, wants_rejects))
        answer.end()
    except BaseException as error:
        answer.end(_name_parameters(error))
        if not isinstance(error, Exception):
            raise


def _name_parameters(error: BaseException) -> BaseException:
    """The same error, with the query parameters that help."""
    remedies = [
        f"?{DROP}={quote(remedy.value)} {remedy.effect}"
        for remedy in getattr(error, "remedies", ())
        if remedy.parameter == DROP
    ]
    if not remedies or not isinstance(error, InputError):
        return error
    return type(error)(error.field, "; ".join([error.reason, ", ".join(remedies)]))


def _told_by_start(table: BinaryIO) -> TableFormat:
    kind = formats.kind_of(read_first(table, HEAD))
    table.seek(0)
    return answer_to(formats.format_like(kind) or formats.CSV)


async def _score(answer: GrowingAnswer, table: BinaryIO, model: Classifier, wants_rejects: bool) -> None:
    form = answer.form
    contract = model.contract
    rows, schema = (rejected_rows, form.rejected) if wants_rejects else (every_row, table_schema(contract.classes))
    async with one_table:
        outputs = [(rows, form.writer(answer.file, schema))]
        read = _inspected(form.read(table, "body", contract), answer, contract)
        blocks = score_blocks(model, read, outputs, "body", MAX_REJECTS)
        with closing(blocks):
            while await _to_the_end(anyio.to_thread.run_sync(_step, blocks, answer)):
                answer.grow()


def _inspected(blocks: Iterator[Block], answer: GrowingAnswer, contract: DataContract) -> Iterator[Block]:
    """The blocks, once the first rows can be right; what is unusual about these is kept for the answer's head."""
    first, rows = list[Block](), 0
    for block in itertools.islice(blocks, MAX_BLOCKS):
        first.append(block)
        rows += len(block.ids)
        if rows >= INSPECTED:
            break
    if first:
        shown = np.concatenate([block.shown for block in first])
        answer.findings = inspect_images(shown, catalogue_of(contract).inputs)
        refuse_wrong(answer.findings, "body")
    yield from first
    yield from blocks


def _step(blocks: Iterator[Score], answer: GrowingAnswer) -> bool:
    """Score a block; False after the last."""
    found = next(blocks, None)
    answer.file.flush()
    return found is not None


async def _to_the_end(work: Coroutine[None, None, bool]) -> bool:
    """What a thread returns; when cancelled meanwhile, wait for it first, since it uses the files."""
    working = asyncio.create_task(work)
    try:
        return await asyncio.shield(working)
    finally:
        await asyncio.wait({working})


async def _while_connected(request: Request, work: Coroutine[None, None, None]) -> None:
    """Do something until it is done or the client leaves, which raises `ClientDisconnect`."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_wait_until_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        working.result()
    finally:
        await _stop(working)
        await _stop(leaving)


async def _wait_until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has gone; a block that is being scored is finished first."""
    task.cancel()
    await asyncio.wait({task})
