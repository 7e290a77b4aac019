"""Notifications: their text, their delivery, and the redaction of secrets."""

import asyncio
import dataclasses
import sys
from collections.abc import Iterator
from html import unescape

import pytest
from apprise.plugins.slack import NotifySlack
from pydantic import SecretStr
from receiving import Receiver, mailing, receiving

from components.contract import GateCheck, ModelCard, Verdict
from components.errors import NotificationFailed, SettingsError
from components.model.mlp import MLP
from components.promotion.promote import Promotion
from components.promotion.shadowed import IMAGES
from components.registry import champion, store
from components.settings import CHECKOUT
from fashion.cli.main import run_command
from flows.notify.block import FashionNotification
from flows.notify.message import LONGEST, TEST, Message, of_promotion
from flows.notify.redact import redact
from flows.notify.send import send, try_send

# --- secrets ---


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("GET https://bob:hunter2@example.com/x failed", "GET https://***@example.com/x failed"),
        ("postgresql+asyncpg://fashion:p@ss/w:rd@db:5432/prefect", "postgresql+asyncpg://***@db:5432/prefect"),
        ("https://example.com/?a=1&api_key=abc123&b=2", "https://example.com/?a=1&api_key=***&b=2"),
        ("https://example.com/?X-Amz-Signature=0f0f0f", "https://example.com/?X-Amz-Signature=***"),
        ("{'password': 'correct horse', 'user': 'bob'}", "{'password': ***, 'user': 'bob'}"),
        ('{"client_secret":"s3cr3t"}', '{"client_secret":***}'),
        ("Authorization: Basic Ym9iOmh1bnRlcjI=", "Authorization: ***"),
        ("sent Bearer abc.def-ghi123 to", "sent Bearer *** to"),
        ("token eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl ends", "token *** ends"),
        ("AKIAIOSFODNN7EXAMPLE is no key", "*** is no key"),
        ("clone with ghp_abcdefghijklmnop", "clone with ***"),
        ("https://hooks.slack.com/services/T0/B0/XXXX", "https://hooks.slack.com/services/***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- after", "*** after"),
    ],
)
def test_secrets_are_redacted(text: str, safe: str) -> None:
    assert redact(text) == safe


@pytest.mark.parametrize(
    "text",
    [
        "fashion-mlp:zy3nuvt5cw was rejected: accuracy 0.8812, at least 0.9012",
        "dataset 5f0c1d2e3a4b5c6d breaks 2 expectation(s), so nothing was trained:\n  - test: rows test-00007",
        "http://127.0.0.1:4200/runs/flow-run/9eb0f645-a73c-4d99-b818-4525733dc3e1",
        "write to person@example.com",
        "model.safetensors: has the SHA-256 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    ],
)
def test_useful_text_is_not_redacted(text: str) -> None:
    assert redact(text) == text


def test_values_of_secret_variables_are_redacted_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_TOKEN", "swordfish-42")
    monkeypatch.setenv("FASHION_NOTIFY_URL", "slack://aaa/bbb/ccc")
    monkeypatch.setenv("SOME_PASSWORD", "a")
    assert redact("it said swordfish-42 to slack://aaa/bbb/ccc at last") == "it said *** to *** at last"


# --- the text ---


def test_a_message_has_a_reason_a_link_and_a_next_step() -> None:
    message = Message("it broke", "a reason", "fix it", "http://127.0.0.1/")
    assert message.text == "Why: a reason\nLink: http://127.0.0.1/\nNext: fix it"
    assert len(Message("", "x" * 10 * LONGEST, "").text) < LONGEST + 50


def test_a_rejection_names_the_live_model_and_the_command_that_explains_it() -> None:
    message = of_promotion(Promotion("fashion-mlp:new", False, None, "fashion-mlp:old"))
    assert message.what == "fashion-mlp:new was rejected; fashion-mlp:old stays live"
    assert "fashion verdict fashion-mlp:new" in message.next


def test_a_model_that_lacks_only_a_shadow_waits_for_it() -> None:
    checks = tuple(GateCheck(name, name != IMAGES, "", "", name) for name in ("minimum accuracy", IMAGES))
    verdict = Verdict("fashion-mlp:new", "fashion-mlp:old", "2026-12-01T00:00:00+00:00", "", 200, checks, {})
    message = of_promotion(Promotion("fashion-mlp:new", False, verdict, "fashion-mlp:old"))
    assert message.what == "fashion-mlp:new passed the gate and waits for its shadow; fashion-mlp:old stays live"


def test_a_promotion_names_the_replaced_model_and_the_command_for_a_rollback() -> None:
    message = of_promotion(Promotion("fashion-mlp:new", True, None, "fashion-mlp:old"))
    assert message.what == "fashion-mlp:new is live and replaces fashion-mlp:old"
    assert "fashion rollback" in message.next
    first = of_promotion(Promotion("fashion-mlp:new", True, None, None))
    assert (first.what, first.next) == ("fashion-mlp:new is live", "nothing")


# --- delivery ---


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as opened:
        monkeypatch.setenv("FASHION_NOTIFY_URL", opened.url)
        yield opened


def fashion(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["fashion", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command()
    return ended.value.code


def test_a_test_message_arrives(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fashion(monkeypatch, "notify", "--test")
    (message,) = receiver.received
    assert (message["title"], message["message"]) == (TEST.what, TEST.text)


def test_a_text_arrives_with_its_secret_redacted(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fashion(monkeypatch, "notify", "the token=abc123 is out")
    assert receiver.received[0]["title"] == "the token=*** is out"


ODD = Message("it failed", "<Response [500]> & more", "look")


@pytest.mark.parametrize("option", ["", "&format=html"], ids=["text", "text and HTML"])
def test_an_email_keeps_all_lines_and_characters(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """From a command and from the Prefect server, as text and, if the URL requests it, as HTML."""
    with mailing() as mailbox:
        monkeypatch.setenv("FASHION_NOTIFY_URL", mailbox.url + option)
        send(ODD)
        block = FashionNotification(url=SecretStr(mailbox.url + option))
        asyncio.run(block.anotify(f"{ODD.text}, token=abc123", ODD.what))
    ours, theirs = mailbox.received
    for mail, end in ((ours, ""), (theirs, ", token=***")):
        assert (mail["subject"], mail["from"], mail["to"]) == (ODD.what, "fashion@example.com", "team@example.com")
        plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
        assert plain
        assert plain.get_content().splitlines() == [*ODD.text.splitlines()[:-1], ODD.text.splitlines()[-1] + end]
        assert bool(html) == bool(option)
        if html:
            shown = unescape(html.get_content()).replace("\xa0", " ").split("<br/>")
            assert [line.strip() for line in shown] == plain.get_content().splitlines()


def test_a_message_is_sent_to_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a local receiver instead of Slack's."""
    with receiving() as receiver:
        monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{receiver.port}/services")
        monkeypatch.setenv(
            "FASHION_NOTIFY_URL", "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
        )
        send(ODD)
    (attachment,) = receiver.received[0]["attachments"]
    assert (attachment["title"], unescape(attachment["text"])) == (ODD.what, ODD.text)
    assert "<" not in attachment["text"], "Slack would parse it as a link"


def test_notify_requires_either_a_text_or_test(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fashion(monkeypatch, "notify") == 1
    assert fashion(monkeypatch, "notify", "text", "--test") == 1


@pytest.mark.usefixtures("bentoml_home", "settings")
def test_a_rollback_sends_a_notification(
    network: MLP, card: ModelCard, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    tags = [store.save_model(network, dataclasses.replace(card, preset=name)) for name in ("quick", "dense-128")]
    for tag in tags:
        champion.make_live(tag, "a test")
    with receiving() as receiver:
        monkeypatch.setenv("FASHION_NOTIFY_URL", receiver.url)
        assert not fashion(monkeypatch, "rollback", "--reason", "shirts are wrong")
        (message,) = receiver.received
    assert message["title"] == f"{tags[0]} is live again and replaces {tags[1]}"
    assert "shirts are wrong" in message["message"]


@pytest.mark.usefixtures("bentoml_home", "settings")
def test_a_failed_notification_does_not_undo_a_rollback(
    network: MLP, card: ModelCard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = [store.save_model(network, dataclasses.replace(card, preset=name)) for name in ("quick", "dense-128")]
    for tag in tags:
        champion.make_live(tag, "a test")
    monkeypatch.setenv("FASHION_NOTIFY_URL", "json://bob:hunter2@127.0.0.1:9")
    assert not fashion(monkeypatch, "rollback")
    output = capsys.readouterr()
    assert "is live again" in output.out
    assert output.err.startswith("warning: notification failed")
    assert "hunter2" not in output.err


def test_without_a_url_nothing_is_sent_and_an_explicit_send_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FASHION_NOTIFY_URL", raising=False)
    try_send(TEST)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(SettingsError, match="FASHION_NOTIFY_URL is not set"):
        send(TEST)


@pytest.mark.parametrize("url", ["hunter2", "nosuch://hunter2", "slack://hunter2"])
def test_an_unsupported_url_is_refused_and_not_printed(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASHION_NOTIFY_URL", url)
    with pytest.raises(SettingsError) as refused:
        send(TEST)
    assert "hunter2" not in str(refused.value) + "".join(capsys.readouterr())


def test_the_documented_examples_are_valid_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise import Apprise

    page = (CHECKOUT / "docs" / "monitoring.md").read_text()
    examples = [line.split("'")[1] for line in page.splitlines() if line.startswith("export FASHION_NOTIFY_URL='")]
    assert {example.partition(":")[0] for example in examples} >= {"mailtos", "https", "json"}
    for example in examples:
        assert Apprise().add(example), example


def test_a_refused_connection_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_NOTIFY_URL", "json://127.0.0.1:9")
    with pytest.raises(NotificationFailed, match="Connection error"):
        send(TEST)
