"""Notifying people."""

import json
from typing import Annotated

import typer

from fashion.cli.arguments import Json


def notify(
    text: Annotated[str | None, typer.Argument(help="Text to send, one line.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Send a test message.")] = False,
    as_json: Json = False,
) -> None:
    """Send a message to FASHION_NOTIFY_URL, the way failures and promotions are reported."""
    from components.errors import SettingsError
    from flows.notify.message import TEST, Message
    from flows.notify.send import send

    if (text is None) == (not test):
        raise SettingsError("expected a text to send, or --test")
    send(Message(text, "a person sent it with 'fashion notify'", "nothing") if text is not None else TEST)
    print(json.dumps({"sent": True}) if as_json else "sent")
