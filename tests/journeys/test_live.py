"""A running service follows the live model, and reports why it cannot."""

import json
import time

import pytest
from following import following, remove, restore, save, wait_for, weights_of  # noqa: F401, a fixture
from servers import Server

from components.contract import ModelCard
from components.registry import champion, store
from components.training.train import Trained

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_a_service_without_a_model_recovers_when_one_is_promoted(
    following: Server, trained: Trained, card: ModelCard
) -> None:
    with following.client() as client:
        assert client.get("/readyz").status_code == 503
        tag = save(trained, card, 1.0)
        champion.make_live(tag, "a test")
        assert wait_for(following, tag) < 2
        assert client.get("/readyz").status_code == 200


@pytest.mark.slow
def test_a_service_reports_a_missing_model_folder_until_it_is_restored(
    following: Server, trained: Trained, card: ModelCard
) -> None:
    tag = save(trained, card, 1.0)
    champion.make_live(tag, "a test")
    wait_for(following, tag)
    remove(store.home().parent, tag)
    problem = wait_for_problem(following)
    assert "not in the store" in problem
    with following.client() as client:
        assert client.get("/readyz").status_code == 200
        restore(store.home().parent, tag)
        deadline = time.monotonic() + 10
        while client.get("/model").json()["problem"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert following.log.read_text().count(problem) == 1


def wait_for_problem(server: Server) -> str:
    """Return the problem that /model reports within ten seconds."""
    deadline = time.monotonic() + 10
    with server.client() as client:
        while not (problem := client.get("/model").json()["problem"]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    return str(problem)


@pytest.mark.slow
def test_a_broken_candidate_is_reported_in_model_info_and_a_metric(
    following: Server, trained: Trained, card: ModelCard
) -> None:
    good, bad = (save(trained, card, temperature) for temperature in (1.0, 3.0))
    champion.make_live(good, "a test")
    wait_for(following, good)
    pointer, weights = store.home() / "live.json", weights_of(store.home().parent, bad)
    weights.write_bytes(b"")  # promote would refuse it, so the test writes the pointer itself
    move = {**json.loads(pointer.read_bytes()), "tag": bad, "card_sha256": store.card_sha256(bad)}
    pointer.write_text(json.dumps(move))
    with following.client() as client:
        assert "weights.safetensors" in wait_for_problem(following)
        assert client.get("/model").json()["model"] == good
        counted = client.get("/metrics").text
        assert f'fashion_model_live{{tag="{good}"}} 1.0' in counted
        failures = [line for line in counted.splitlines() if line.startswith("fashion_model_failures_total")]
        assert float(failures[0].rpartition(" ")[2]) >= 1
        assert client.get("/readyz").status_code == 200
