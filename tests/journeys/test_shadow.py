"""A shadow beside a running service with two workers: every image that was sent is accounted for."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import torch
from following import save, wait_for
from promotions import change_bias
from servers import Server, serve, using_home, wait_until_ready
from shadows import candidates_of, save_broken, start, wait_for_counts
from shadows import wait_for as wait_until

from components.contract import Images, ModelCard
from components.dataset.manifest import Examples
from components.model.mlp import MLP
from components.readers.images.photos import write_png
from components.registry import champion, store
from components.scoring.predict import predict
from components.shadow.control import current_shadow, stop_shadow
from components.shadow.counts import (
    FAILED,
    KILLED,
    NOT_SAMPLED,
    OFF,
    STOPPED,
    WAITING,
    ShadowCounts,
    champions_of,
    read_counts,
)
from components.shadow.flips import read_flips
from components.training.train import Trained
from fashion.cli.main import run_command

pytestmark = pytest.mark.slow
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def service(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with using_home(tmp_path_factory.mktemp("shadow") / "bentoml") as home:
        champion.make_live(save(trained, card, 1.0), "a test")
        with serve(home, environment={"FASHION_WORKERS": "2"}) as server:
            with server.client() as client:
                wait_until_ready(client)
            yield server
            assert "Traceback" not in server.log.read_text()


@pytest.fixture
def candidate(network: MLP, card: ModelCard, service: Server) -> Iterator[str]:
    """A model that answers otherwise for some images."""
    change = torch.zeros(10)
    change[card.classes.index("Coat")] = 2.0
    yield store.save_model(change_bias(network, change), card)
    stop_shadow()
    wait_until(lambda: None if candidates_of(service.process.pid) else True)


def following(server: Server, workers: int = 2) -> None:
    """Wait until the workers have started their candidates."""
    wait_until(lambda: True if len(candidates_of(server.process.pid)) == workers else None)


def send(server: Server, images: Images, at_once: int = 1) -> int:
    """Have images classified, each over a new connection. Returns their number."""
    with server.client() as client:
        for first in range(0, len(images), at_once):
            content = images[first : first + at_once].tobytes()
            for _ in range(20):  # a worker that was killed breaks connections
                try:
                    response = client.post("/predict", content=content, headers=BYTES)
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            assert response.status_code == 200, response.text
    return len(images)


def is_settled(seen: int) -> Callable[[ShadowCounts], bool]:
    return lambda counts: counts.seen == seen and not counts.skipped.get(WAITING)


def run(*arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fashion", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_command()
    assert not ended.value.code


def adds_up(counts: ShadowCounts) -> bool:
    return counts.seen == counts.mirrored + sum(counts.skipped.values())


def test_the_counts_are_those_of_both_models_on_all_images(
    service: Server, candidate: str, test_split: Examples, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shadow = start(candidate, keep_images=2)
    following(service)
    images = test_split.images[:150]
    sent = send(service, images[:30]) + send(service, images[30:130], at_once=20)
    with service.client() as client:
        for image in images[130:]:
            assert client.post("/classify", files={"file": write_png(image)}).status_code == 200
            sent += 1
    counts = wait_for_counts(candidate, lambda one: one.mirrored == sent)
    assert (counts.seen, counts.skipped, counts.error) == (sent, {}, "")
    live = champion.live_move().tag
    before, after = (predict(store.load_stored(tag), images) for tag in (live, candidate))
    assert {(one.champion, one.candidate): one.images for one in counts.pairs} == Counter(
        zip(before.names, after.names, strict=True)
    )
    assert counts.changed > 5
    assert (counts.champion_sure, counts.candidate_sure) == (before.sure.sum(), after.sure.sum())
    assert counts.cpu_seconds > 0
    kept = Counter((one.champion, one.candidate) for one in read_flips(shadow, live) if one.png)
    assert kept
    assert all(number <= 2 * 2 for number in kept.values())  # of two workers
    run("shadow", "--html", tmp_path / "shadow.html")
    shown = capsys.readouterr().out
    assert "of answers" in shown
    assert f"{sent:,} of {sent:,} images seen" in shown
    assert (tmp_path / "shadow.html").read_text().count("data:image/png") == kept.total()


def test_a_sample_is_mirrored_and_the_rest_counted(service: Server, candidate: str, test_split: Examples) -> None:
    start(candidate, share=0.5)
    following(service)
    sent = send(service, test_split.images[:200], at_once=10)
    counts = wait_for_counts(candidate, is_settled(sent))
    assert adds_up(counts)
    assert 50 < counts.skipped[NOT_SAMPLED] < 150
    assert counts.mirrored + counts.skipped[NOT_SAMPLED] == sent


def test_killed_candidates_lose_what_they_had_and_come_back(
    service: Server, candidate: str, test_split: Examples
) -> None:
    start(candidate)
    following(service)
    sent = send(service, test_split.images[:20])
    wait_for_counts(candidate, lambda one: one.mirrored == sent)
    for process in candidates_of(service.process.pid):
        process.kill()
    sent += send(service, test_split.images[:40])
    following(service)
    sent += send(service, test_split.images[:20])
    counts = wait_for_counts(candidate, is_settled(sent))
    assert adds_up(counts)
    assert counts.skipped.keys() <= {STOPPED}
    assert counts.mirrored >= 40


def test_a_killed_worker_loses_only_what_waited(service: Server, candidate: str, test_split: Examples) -> None:
    start(candidate)
    following(service)
    sent = send(service, test_split.images[:60])
    wait_for_counts(candidate, lambda one: one.seen == sent)
    candidates = candidates_of(service.process.pid)
    worker = psutil.Process(candidates[0].ppid())
    worker.kill()
    wait_until(lambda: None if candidates[0].is_running() and candidates[0].status() != "zombie" else True)
    counts = read_counts(candidate)
    assert counts
    assert counts.seen == sent
    assert adds_up(counts)
    following(service)
    sent += send(service, test_split.images[:30])
    counts = wait_for_counts(candidate, is_settled(sent))
    assert adds_up(counts)
    assert counts.skipped.keys() <= {KILLED}
    assert counts.mirrored >= 30


def test_a_candidate_that_fails_costs_no_answer(
    service: Server, candidate: str, trained: Trained, card: ModelCard, network: MLP, test_split: Examples
) -> None:
    broken = save_broken(network, card)
    start(broken)
    following(service)
    sent = send(service, test_split.images[:30])
    counts = wait_for_counts(broken, is_settled(sent))
    assert (counts.mirrored, counts.skipped, counts.failed) == (0, {FAILED: sent}, sent)
    assert "not finite" in counts.error


def test_a_candidate_that_cannot_be_loaded_is_reported(
    service: Server, candidate: str, trained: Trained, card: ModelCard, test_split: Examples
) -> None:
    damaged = save(trained, card, 4.0)
    start(damaged)
    (store.stored_folder(damaged) / "weights.safetensors").write_bytes(b"")
    following(service)
    sent = send(service, test_split.images[:30])
    counts = wait_for_counts(damaged, lambda one: one.failed == sent)
    assert "weights.safetensors" in counts.error
    assert adds_up(counts)


def test_each_champion_has_its_own_counts(
    service: Server, candidate: str, trained: Trained, card: ModelCard, test_split: Examples
) -> None:
    first, second = champion.live_move().tag, save(trained, card, 1.5)
    shadow = start(candidate)
    following(service)
    sent = send(service, test_split.images[:30])
    champion.make_live(second, "a test")
    sent += send(service, test_split.images[:60])
    wait_for(service, second)
    time.sleep(0.5)  # the other worker
    sent += send(service, test_split.images[:20])
    found = wait_until(
        lambda: every if (every := champions_of(shadow)) and sum(one.mirrored for one in every) == sent else None,
        lambda: (sent, champions_of(shadow)),
    )
    assert [one.champion for one in found] == [first, second]
    assert all(adds_up(one) and not one.skipped for one in found)
    assert found[1].seen >= 20
    champion.make_live(candidate, "a test")  # the candidate is not compared with itself
    wait_for(service, candidate)
    time.sleep(0.5)
    send(service, test_split.images[:10])
    time.sleep(0.5)
    assert sum(one.seen for one in champions_of(shadow)) == sent
    champion.make_live(first, "a test")
    wait_for(service, first)


def test_a_shadow_that_is_off_sees_nothing(service: Server, candidate: str, test_split: Examples) -> None:
    start(candidate)
    following(service)
    sent = send(service, test_split.images[:10])
    wait_for_counts(candidate, lambda one: one.seen == sent)
    run("shadow", "--off")
    assert current_shadow() is None
    wait_until(lambda: None if candidates_of(service.process.pid) else True)
    send(service, test_split.images[:10])
    time.sleep(0.5)
    counts = read_counts(candidate)
    assert counts
    assert counts.seen == sent
    assert adds_up(counts)
    assert counts.skipped.keys() <= {OFF}
