"""An index is opened once, in a thread, for the model that a request uses; until then requests are refused."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from starlette.requests import Request

from components.contract import ModelCard
from components.errors import DatasetError, InputError, InputTooLarge
from components.model.classifier import Classifier
from components.neighbours.index import NeighbourIndex
from components.training.train import Trained
from serving import neighbours
from serving.errors import Refusal
from serving.neighbours import OpenIndex, read_count, require_few


@pytest.fixture
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:tested1", replace(card, weights_sha256="1" * 64), trained.network.to_numpy())


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PATIENCE", 0.05)


def opening(open_: Callable[[Classifier], object], stamp: Callable[[], object] = lambda: None) -> OpenIndex:
    return OpenIndex("the index", cast(Callable[[Classifier], NeighbourIndex], open_), stamp)


async def get(index: OpenIndex, model: Classifier) -> str:
    return cast(str, await index.get(model, "because"))


async def refused(index: OpenIndex, model: Classifier) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await index.get(model, "because")
    return caught.value


def test_requests_are_refused_while_it_is_built_and_then_answered(model: Classifier) -> None:
    go, opened = threading.Event(), list[str]()

    def slow(asked: Classifier) -> str:
        go.wait(10)
        opened.append(asked.tag)
        return asked.tag

    async def ask() -> None:
        index = opening(slow)
        both = await asyncio.gather(refused(index, model), refused(index, model))
        assert {(one.status_code, one.field) for one in both} == {(503, "because")}
        assert both[0].detail == "the index of fashion-mlp:tested1 is being prepared; retry later"
        assert both[0].headers == {"Retry-After": "2"}
        go.set()
        while not opened:
            await asyncio.sleep(0.01)
        assert [await get(index, model), await get(index, model)] == [model.tag] * 2
        assert opened == [model.tag], "opened once"

    asyncio.run(ask())


def test_another_model_gets_its_own_index(model: Classifier) -> None:
    other = Classifier("fashion-mlp:tested2", replace(model.card, weights_sha256="2" * 64), model.network)

    async def ask() -> None:
        index = opening(lambda asked: asked.tag)
        assert [await get(index, one) for one in (model, other, model)] == [model.tag, other.tag, model.tag]

    asyncio.run(ask())


def test_a_model_that_goes_live_during_a_build_waits_for_its_end(model: Classifier) -> None:
    other = Classifier("fashion-mlp:tested2", replace(model.card, weights_sha256="2" * 64), model.network)
    go, steps = threading.Event(), list[str]()

    def slow(asked: Classifier) -> str:
        steps.append(f"begin {asked.tag}")
        go.wait(10)
        steps.append(f"end {asked.tag}")
        return asked.tag

    async def ask() -> None:
        index = opening(slow)
        for one in (model, other, other):
            assert (await refused(index, one)).status_code == 503
        go.set()
        while index.future and not index.future.done():
            await asyncio.sleep(0.01)
        assert await get(index, other) == other.tag
        expected = [f"{step} {one.tag}" for one in (model, other) for step in ("begin", "end")]
        assert steps == expected, "one at a time"

    asyncio.run(ask())


def test_a_changed_file_is_opened_again(model: Classifier) -> None:
    stamps, opened = iter("aab"), list[str]()

    def count(asked: Classifier) -> str:
        opened.append(asked.tag)
        return str(len(opened))

    async def ask() -> None:
        index = opening(count, lambda: next(stamps))
        assert [await get(index, model) for _ in range(3)] == ["1", "1", "2"]

    asyncio.run(ask())


def test_a_failure_is_reported_and_tried_again_later(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = list[int]()

    def fail(asked: Classifier) -> str:
        tried.append(0)
        raise DatasetError("x.json: no such dataset") if len(tried) < 3 else OSError(28, "", "an.arrow")

    async def ask() -> None:
        index = opening(fail)
        first, second = await refused(index, model), await refused(index, model)
        assert {(one.status_code, one.detail) for one in (first, second)} == {(409, "x.json: no such dataset")}
        assert len(tried) == 1
        monkeypatch.setattr(neighbours, "REOPEN", 0)
        await refused(index, model)
        full = await refused(index, model)
        assert (full.status_code, full.detail) == (
            503,
            "the index cannot be prepared: an.arrow: the disk is full. Free some space, or choose another location",
        )

    asyncio.run(ask())


def asking(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


@pytest.mark.parametrize(("query", "count"), [("", 0), ("top=3", 0), ("because=0", 0), ("because=20", 20)])
def test_a_count_is_read_from_the_query(query: str, count: int) -> None:
    assert read_count(asking(query), "because", 0, 0) == count


@pytest.mark.parametrize("value", ["-1", "21", "1.5", "", "x", "true", "\u0665", "1e1", "999999999999"])
def test_any_other_count_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"because: found '.*', expected a whole number from 0 to 20"):
        read_count(asking(f"because={value}"), "because", 0, 0)


def test_a_response_has_a_largest_number_of_neighbours() -> None:
    require_few(64, 5, "because")
    require_few(1024, 0, "because")
    with pytest.raises(InputTooLarge, match="because: 6 of each of 64 images, expected at most 320 in a response"):
        require_few(64, 6, "because")
