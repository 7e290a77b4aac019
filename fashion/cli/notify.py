"""Telling people."""

from typing import Annotated

import typer


def notify(
    text: Annotated[str | None, typer.Argument(help="What to send, a line.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Send a message that says what this is.")] = False,
) -> None:
    """Send a message to the address in FASHION_NOTIFY_URL, as failures and promotions are told."""
    from components.errors import SettingsError
    from flows.notify.message import TEST, Message
    from flows.notify.send import send

    if (text is None) == (not test):
        raise SettingsError("say what to send, or --test")
    send(Message(text, "a person sent it with 'fashion notify'", "nothing") if text is not None else TEST)
    print("sent")
