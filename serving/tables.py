"""POST /score: spool a table to disk, classify its rows, and stream the response while it grows.

The response starts before the last row is read, so a later error cannot have its own status code. Instead, the
connection closes before the response is complete, so that no client mistakes a partial response for a complete one.
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
from serving.errors import RETRY, RETRY_AFTER, Refusal
from serving.metrics import watch

log = logging.getLogger("bentoml.fashion")

MAX_REJECTS = 100_000  # rows per table
DROP = "drop"  # query parameter that names a column to ignore
RESPONSE_TIMEOUT = 600  # seconds from the first byte of a response to the last
INSPECTED, MAX_BLOCKS = 100, 8  # rows checked before the response starts, in at most this many blocks
PIECE = 256 << 10  # bytes of a response sent at a time
TABLE_ALIASES = frozenset(  # the first bytes decide the format
    {
        FORM,
        "application/octet-stream",
        "application/csv",
        "application/x-csv",
        "text/x-csv",
        "text/comma-separated-values",
        "text/plain",
        "application/vnd.ms-excel",  # .csv on Windows
    }
)

slots = asyncio.Semaphore(4)  # tables being received, queued or scored, each on disk
one_table = asyncio.Lock()  # scoring one takes a whole core


class ResultBuffer:
    """A response body on disk that one task writes and another sends, so a slow client does not block other tables."""

    def __init__(self) -> None:
        self.file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115, `TableResponse` closes it
        self.form = CSV  # until the format is known
        self.size = 0  # bytes ready to send
        self.is_complete = False
        self.error: BaseException | None = None  # why it will never be complete
        self.findings: tuple[Finding, ...] = ()  # about the first rows
        self.changed = asyncio.Event()

    def grow(self) -> None:
        """Make everything written and flushed available to send."""
        self.size = os.fstat(self.file.fileno()).st_size
        self.changed.set()

    def end(self, error: BaseException | None = None) -> None:
        """Mark the end, with the error that caused it, if any."""
        self.is_complete, self.error = error is None, error
        self.changed.set()

    async def wait_for_start(self) -> None:
        """Wait for the first block. Raises the error if one occurs before it."""
        while not (self.size or self.is_complete or self.error):
            await self._wait()
        if self.error and not self.size:
            raise self.error

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they become available, then raise the error, if any."""
        sent = 0
        while sent < self.size or not self.is_complete:
            if sent < self.size:
                length = min(PIECE, self.size - sent)
                piece = os.pread(self.file.fileno(), length, sent)  # just written, so still in the page cache
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
    """Streams a growing result, up to the first error."""

    def __init__(self, result: ResultBuffer, scoring: asyncio.Task[None], model: str, media_type: str) -> None:
        headers = {"X-Model": model}
        if result.findings:
            warnings = [{"kind": one.kind, "reason": one.message} for one in result.findings]
            headers["X-Warnings"] = orjson.dumps(warnings).decode()
        super().__init__(result.pieces(), headers=headers, media_type=media_type)
        self.result, self.scoring = result, scoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. Returning before its end makes the server close the connection."""
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT):
                await self.stream_response(send)
        except ClientDisconnect:
            log.info("/score: the client disconnected before the end of the response")
        except TimeoutError:
            log.warning("/score: response aborted: the client did not read it within %d s", RESPONSE_TIMEOUT)
        except FashionError as error:
            log.warning("/score: response aborted: %s", error)
        finally:
            await _stop(self.scoring)
            self.result.file.close()


async def score_table(request: Request, model: Classifier, wants_rejects: bool) -> Response:
    """Score a table and return the response once its first rows are scored: all rows, or only the rejected ones.

    Raises:
        Refusal: unsupported content type, or four tables are in progress.
        InputError, ClientDisconnect, TimeoutError: an error up to the first scored rows, or their sanity check failed.
    """
    declared = formats.format_called(expect_type(request, *formats.media_types(), also=TABLE_ALIASES))
    form = answer_to(declared) if declared else None
    if slots.locked():
        raise Refusal(429, "request", f"already scoring the maximum number of tables; {RETRY}", RETRY_AFTER)
    await slots.acquire()
    result = ResultBuffer()
    scoring = asyncio.create_task(_fill(result, request, model, form, wants_rejects))
    scoring.add_done_callback(lambda _: slots.release())
    try:
        await result.wait_for_start()
    except BaseException:
        await _stop(scoring)
        result.file.close()
        raise
    watch.warned(result.findings)
    return TableResponse(result, scoring, model.tag, result.form.media_type)


async def _fill(
    result: ResultBuffer, request: Request, model: Classifier, form: TableFormat | None, wants_rejects: bool
) -> None:
    """Receive a table and score it while its client stays connected."""
    try:
        with cast(BinaryIO, tempfile.TemporaryFile()) as table:
            await spool_body(request, table)
            result.form = (form or _detect_format(table)).without(request.query_params.getlist(DROP))
            await _while_connected(request, _score(result, table, model, wants_rejects))
        result.end()
    except BaseException as error:
        result.end(_name_parameters(error))
        if not isinstance(error, Exception):
            raise


def _name_parameters(error: BaseException) -> BaseException:
    """Return the error with its remedies as query parameters."""
    remedies = [
        f"?{DROP}={quote(remedy.value)} {remedy.effect}"
        for remedy in getattr(error, "remedies", ())
        if remedy.parameter == DROP
    ]
    if not remedies or not isinstance(error, InputError):
        return error
    return type(error)(error.field, "; ".join([error.reason, ", ".join(remedies)]))


def _detect_format(table: BinaryIO) -> TableFormat:
    kind = formats.kind_of(read_first(table, HEAD))
    table.seek(0)
    return answer_to(formats.format_like(kind) or formats.CSV)


async def _score(result: ResultBuffer, table: BinaryIO, model: Classifier, wants_rejects: bool) -> None:
    form = result.form
    contract = model.contract
    rows, schema = (rejected_rows, form.rejected) if wants_rejects else (every_row, table_schema(contract.classes))
    async with one_table:
        outputs = [(rows, form.writer(result.file, schema))]
        read = _inspect_first(form.read(table, "body", contract), result, contract)
        blocks = score_blocks(model, read, outputs, "body", MAX_REJECTS)
        with closing(blocks):
            while await _run_to_completion(anyio.to_thread.run_sync(_step, blocks, result)):
                result.grow()


def _inspect_first(blocks: Iterator[Block], result: ResultBuffer, contract: DataContract) -> Iterator[Block]:
    """Yield the blocks after a sanity check of the first rows; keeps its findings for the response headers."""
    first, rows = list[Block](), 0
    for block in itertools.islice(blocks, MAX_BLOCKS):
        first.append(block)
        rows += len(block.ids)
        if rows >= INSPECTED:
            break
    if first:
        shown = np.concatenate([block.shown for block in first])
        result.findings = inspect_images(shown, catalogue_of(contract).inputs)
        refuse_wrong(result.findings, "body")
    yield from first
    yield from blocks


def _step(blocks: Iterator[Score], result: ResultBuffer) -> bool:
    """Score the next block. Returns False after the last one."""
    block = next(blocks, None)
    result.file.flush()
    return block is not None


async def _run_to_completion(work: Coroutine[None, None, bool]) -> bool:
    """Await work in a thread. If cancelled, still wait for the thread, because it uses the files."""
    working = asyncio.create_task(work)
    try:
        return await asyncio.shield(working)
    finally:
        await asyncio.wait({working})


async def _while_connected(request: Request, work: Coroutine[None, None, None]) -> None:
    """Await work. Raises `ClientDisconnect` if the client disconnects first."""
    working, disconnect = asyncio.create_task(work), asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        working.result()
    finally:
        await _stop(working)
        await _stop(disconnect)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; the block being scored is finished first."""
    task.cancel()
    await asyncio.wait({task})
