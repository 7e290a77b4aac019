"""The check: looks, rollbacks, and what others do to the live model meanwhile."""

import dataclasses
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_records import HOUR, make_records

from components.contract import Flips, GateCheck, ModelCard, Verdict
from components.errors import ModelError
from components.files import write_whole
from components.model.mlp import MLP
from components.monitoring.serving_record import ServingLog, serving_folder
from components.probation import check as checking
from components.probation.agreement import choose_share, read_expected
from components.probation.check import check_probation, mark_reported
from components.probation.expected import expect_changes
from components.probation.settings import LOOKS, ProbationSettings
from components.probation.state import begin, read_probation, write_probation
from components.registry import champion, store
from components.registry.bars import read_bar, write_bar
from components.registry.verdicts import write_verdict
from components.shadow.control import current_shadow, start_shadow

pytestmark = pytest.mark.usefixtures("bentoml_home")
SETTINGS = ProbationSettings(minutes=60, requests=100)
MINUTE = 60.0


class Promoted:
    """A model on probation, after a champion with a day of traffic."""

    def __init__(self, network: MLP, card: ModelCard) -> None:
        cards = [dataclasses.replace(card, created_at=f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2, 3)]
        self.before, self.model, self.third = (store.save_model(network, one) for one in cards)
        champion.make_live(self.before, "a test")
        self.move = champion.make_live(self.model, "a test")
        self.since = datetime.fromisoformat(self.move.when).timestamp()
        self.log = ServingLog(serving_folder(store.home()))
        random = np.random.default_rng(0)
        self.log.append(make_records(random, self.since - 24 * HOUR, self.since, model=self.before))
        future = self.since + 100 * 24 * HOUR
        os.utime(self.log.path, (future, future))

    def serve(self, minutes: float, **changes: Any) -> None:
        """Let the model on probation serve from the promotion on."""
        random = np.random.default_rng(1)
        self.log.append(make_records(random, self.since, self.since + minutes * MINUTE, model=self.model, **changes))

    def check(self, minutes: float, act: bool = True) -> checking.ProbationCheck:
        return check_probation(act, self.since + minutes * MINUTE, SETTINGS)


@pytest.fixture
def promoted(network: MLP, card: ModelCard, bentoml_home: Path) -> Promoted:
    return Promoted(network, card)


def test_a_bad_model_is_rolled_back_and_barred_with_the_reason(promoted: Promoted) -> None:
    promoted.serve(30, not_sure=0.6)
    found = promoted.check(30)
    assert found.move
    assert found.probation
    assert champion.live_move() == found.move
    move = found.move
    assert (move.action, move.tag, move.previous) == ("rollback", promoted.before, promoted.model)
    assert move.why.startswith("probation: not sure: found ")
    assert ", allowed " in move.why
    bar = read_bar(promoted.model)
    assert bar
    assert (bar.why, bar.move) == (move.why, 2)
    assert (found.probation.state, found.probation.reported) == ("rolled back", False)
    mark_reported(found.probation)
    again = promoted.check(60)
    assert again.move is None
    assert again.probation
    assert again.probation.reported
    assert len(champion.history()) == 3


def test_a_good_model_passes_after_the_minutes_and_the_requests(promoted: Promoted) -> None:
    promoted.serve(60)
    states = []
    for minutes in (1.0, 2, 20, 40, 61):
        found = promoted.check(minutes)
        assert found.probation
        states.append((found.probation.state, found.probation.looks))
    assert states == [("running", 0), ("running", 1), ("running", 4), ("running", 5), ("passed", 6)]
    assert champion.live_move().tag == promoted.model


def test_with_too_little_traffic_the_probation_goes_on_up_to_its_last_look(promoted: Promoted) -> None:
    promoted.serve(3)
    found = [promoted.check(minutes).probation for minutes in (60.0, 120, 959, 961)]
    assert [one.state for one in found if one] == ["running", "running", "running", "too few"]
    assert found[-1]
    assert found[-1].looks == LOOKS
    assert champion.live_move().tag == promoted.model


def test_between_two_looks_nothing_is_judged(promoted: Promoted) -> None:
    assert promoted.check(30).probation
    promoted.serve(59, not_sure=0.6)
    assert promoted.check(40).move is None
    assert promoted.check(60).move


def test_to_look_at_it_changes_nothing(promoted: Promoted) -> None:
    promoted.serve(60, not_sure=0.6)
    found = promoted.check(60, act=False)
    assert "breach" in {one.outcome for one in found.measures}
    assert champion.live_move().tag == promoted.model
    assert read_probation() is None
    assert read_bar(promoted.model) is None
    assert current_shadow() is None


@pytest.mark.parametrize("person", ["promotes", "rolls back"])
def test_a_persons_move_ends_the_probation(promoted: Promoted, person: str) -> None:
    promoted.check(5)
    promoted.serve(30, not_sure=0.6)
    if person == "promotes":
        champion.make_live(promoted.third, "a person")
    else:
        champion.rollback(why="a person")
    live = champion.live_move()
    found = promoted.check(30)
    assert found.move is None
    assert found.probation
    assert champion.live_move() == live
    assert read_bar(promoted.model) is None
    if person == "promotes":
        assert (found.probation.model, found.probation.state) == (promoted.third, "running")
    else:
        assert (found.probation.model, found.probation.state) == (promoted.model, "ended")


def test_a_move_during_the_check_stays(promoted: Promoted, monkeypatch: pytest.MonkeyPatch) -> None:
    promoted.serve(30, not_sure=0.6)
    write = write_bar

    def write_and_promote(bar: Any) -> None:
        write(bar)
        champion.make_live(promoted.third, "a person")

    monkeypatch.setattr(checking, "write_bar", write_and_promote)
    found = promoted.check(30)
    assert found.move is None
    assert champion.live_move().tag == promoted.third
    assert found.probation
    assert found.probation.state == "ended"


@pytest.mark.parametrize("point", ["rollback", "write_probation"])
def test_a_check_that_is_killed_is_completed_by_the_next_one(
    promoted: Promoted, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Killed before the rollback, with the bar written; or after it, before the file of the probation."""
    promoted.check(5)
    promoted.serve(30, not_sure=0.6)

    def die(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checking, point, die)
        with pytest.raises(KeyboardInterrupt):
            promoted.check(30)
    found = promoted.check(31)
    assert found.probation
    assert (found.probation.state, found.probation.reported) == ("rolled back", False)
    assert "not sure" in found.probation.why
    assert champion.live_move().tag == promoted.before
    assert [move.action for move in champion.history()] == ["promote", "promote", "rollback"]


def test_a_forced_promotion_of_a_barred_model_has_a_probation_of_its_own(promoted: Promoted) -> None:
    promoted.serve(30, not_sure=0.6)
    assert promoted.check(30).move
    champion.make_live(promoted.model, "a person insists")
    found = check_probation(True, datetime.fromisoformat(champion.live_move().when).timestamp() + 1, SETTINGS)
    assert found.probation
    assert (found.probation.state, found.probation.move, found.move) == ("running", 4, None)
    assert champion.live_move().tag == promoted.model


def test_the_champion_before_is_in_shadow_until_the_probation_ends(promoted: Promoted) -> None:
    promoted.check(5)
    shadow = current_shadow()
    assert shadow
    assert (shadow.tag, shadow.why) == (promoted.before, f"probation of {promoted.model}")
    promoted.serve(60)
    promoted.check(61)
    assert current_shadow() is None


@pytest.mark.parametrize(("an_hour", "share"), [(400, 1.0), (10_000, 1.0), (100_000, 0.1), (1e9, 0.001)])
def test_the_images_to_compare_last_for_the_minutes(an_hour: float, share: float) -> None:
    assert choose_share(24 * an_hour, 24 * HOUR, 120) == pytest.approx(share)


def test_what_the_gate_counted_decides_what_may_differ(promoted: Promoted, card: ModelCard) -> None:
    """If it compared the model with this champion; else the test errors do."""
    probation = begin(promoted.move)
    assert probation
    for other, is_expected in ((promoted.before, True), (promoted.third, False)):
        flips = Flips((180, 2), (20, 8), dict.fromkeys(card.classes, (20, 1)))
        check = GateCheck("a test", True, "", "", "")
        write_verdict(Verdict(promoted.model, other, promoted.move.when, "", 200, (check,), {}, flips=flips))
        found = read_expected(probation, card, card)
        assert (found == expect_changes(card, card, flips)) == is_expected
        assert (found == expect_changes(card, card)) != is_expected
    forced = GateCheck("a test", False, "", "", "")
    write_verdict(Verdict(promoted.model, promoted.before, promoted.move.when, "", 200, (forced,), {}, flips=flips))
    assert read_expected(probation, card, card) == expect_changes(card, card)
    (store.stored_folder(promoted.model) / store.VERDICT).write_text("{")
    assert read_expected(probation, card, card) == expect_changes(card, card)


def test_a_shadow_that_a_killed_check_left_is_ended(promoted: Promoted) -> None:
    """The check was killed after it had recorded the end."""
    promoted.check(5)
    probation = read_probation()
    assert probation
    assert current_shadow()
    write_probation(dataclasses.replace(probation, state="passed"))
    promoted.check(10)
    assert current_shadow() is None


def test_the_shadow_of_a_person_stays(promoted: Promoted) -> None:
    start_shadow(promoted.third, share=0.1, who="a person", why="a candidate")
    promoted.check(5)
    promoted.serve(60)
    promoted.check(61)
    shadow = current_shadow()
    assert shadow
    assert shadow.tag == promoted.third


@pytest.mark.usefixtures("promoted")
def test_it_can_be_turned_off() -> None:
    assert check_probation(settings=ProbationSettings(minutes=0)).off
    assert read_probation() is None


def test_a_first_promotion_and_no_model_have_no_probation(network: MLP, card: ModelCard) -> None:
    assert check_probation(settings=SETTINGS).probation is None
    champion.make_live(store.save_model(network, card), "a test")
    assert check_probation(settings=SETTINGS).probation is None


def test_a_damaged_file_begins_the_probation_again(promoted: Promoted, caplog: pytest.LogCaptureFixture) -> None:
    promoted.check(30)
    path = store.home() / "probation.json"
    write_whole(path, path.read_bytes().replace(b'"running"', b'"fine"'))
    found = promoted.check(31)
    assert "the probation begins again: probation.json: state" in caplog.text
    assert found.probation
    assert found.probation.looks == 5


@pytest.mark.parametrize("damage", [lambda folder: (folder / "weights.safetensors").unlink()], ids=["no weights"])
def test_a_champion_that_cannot_be_restored_leaves_the_live_model(
    promoted: Promoted, damage: Callable[[Path], None]
) -> None:
    promoted.serve(30, not_sure=0.6)
    damage(store.stored_folder(promoted.before))
    for minutes in (30, 31):
        with pytest.raises(ModelError, match=r"weights\.safetensors"):
            promoted.check(minutes)
    assert champion.live_move().tag == promoted.model
