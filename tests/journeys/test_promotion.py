"""A complete promotion: the gate, the canary on a real server, the pointer."""

from pathlib import Path

import pytest
from promotions import LENIENT, nothing_is_left

from components.contract import ModelCard
from components.model.mlp import MLP
from components.promotion.canary_steps import STEPS
from components.promotion.promote import promote
from components.promotion.standby import standby
from components.registry import champion, store, verdicts
from components.settings import Settings


@pytest.mark.slow
@pytest.mark.usefixtures("validated")
def test_a_promoted_model_passed_the_gate_and_the_canary(
    network: MLP, card: ModelCard, bentoml_home: Path, shared_settings: Settings
) -> None:
    tag = store.save_model(network, card)
    promotion = promote(tag, "a test", bounds=LENIENT, settings=shared_settings)
    assert promotion.promoted, str(promotion)
    assert champion.live_move().verdict == "passed"
    verdict = verdicts.read_verdict(tag)
    assert verdict == promotion.verdict
    assert verdict
    assert [check.name for check in verdict.checks if check.name.startswith("canary")] == [
        f"canary: {step}" for step in STEPS
    ]
    nothing_is_left(bentoml_home)
    assert not list((bentoml_home / "fashion" / "canary").iterdir()), "the log of a server that did well is not kept"
    again = promote(tag, "again", bounds=LENIENT, settings=shared_settings)
    assert (again.promoted, again.verdict) == (True, verdict)
    assert len(champion.history()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("validated")
@pytest.mark.parametrize("ended", [False, True])
def test_a_server_on_standby_serves_the_canary_or_is_replaced_if_it_ended(
    network: MLP, card: ModelCard, bentoml_home: Path, shared_settings: Settings, ended: bool
) -> None:
    standby.start()
    assert standby.server
    port = standby.server.port
    standby.start()
    assert standby.server.port == port, "a second start changes nothing"
    if ended:
        standby.server.process.kill()
        standby.server.process.wait()
    promotion = promote(store.save_model(network, card), "a test", bounds=LENIENT, settings=shared_settings)
    assert promotion.promoted, str(promotion)
    assert standby.server is None
    standby.start()
    standby.close()
    nothing_is_left(bentoml_home)
