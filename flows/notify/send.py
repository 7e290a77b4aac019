"""Send a message to the URL in FASHION_NOTIFY_URL with Apprise."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.errors import NotificationFailed, SettingsError
from components.settings import read_settings
from flows.notify.message import Message
from flows.notify.redact import redact

if TYPE_CHECKING:
    from apprise import Apprise

NAME = "FASHION_NOTIFY_URL"


class NotifySettings(BaseSettings):
    """Settings of the notifications."""

    model_config = SettingsConfigDict(env_prefix="FASHION_", frozen=True)

    notify_url: pydantic.SecretStr = pydantic.SecretStr("")  # Apprise URLs, separated by spaces; empty: off


def notify_url() -> str:
    """Return the URL, or "" if none is set.

    Raises:
        SettingsError: Apprise does not support the URL.
    """
    url = read_settings(NotifySettings).notify_url.get_secret_value().strip()
    if url:
        with _quiet():
            _client(url)
    return url


def send(message: Message) -> None:
    """Send a message with secrets redacted.

    Raises:
        SettingsError: the URL is missing or unsupported.
        NotificationFailed: the message could not be delivered.
    """
    url = notify_url()
    if not url:
        raise SettingsError(f"{NAME} is not set, so no notification can be sent; docs/monitoring.md has examples")
    with _quiet() as log:
        delivered = _client(url).notify(title=redact(message.what), body=redact(message.text))
        lines = log.getvalue().splitlines()
    if not delivered:
        reason = redact("; ".join(lines)) or "the receiver did not accept it"
        raise NotificationFailed(f"notification failed: {reason}")


def try_send(message: Message) -> None:
    """Send a message if a URL is set. A failure only prints a warning on standard error."""
    try:
        if notify_url():
            send(message)
    except (NotificationFailed, SettingsError) as error:
        print(f"warning: {error}", file=sys.stderr)


def _client(url: str) -> "Apprise":
    from apprise import Apprise, AppriseAsset, NotifyFormat

    client = Apprise(asset=AppriseAsset(body_format=NotifyFormat.TEXT))  # else emails lose lines and <words>
    if not client.add(url):
        raise SettingsError(f"{NAME}: not a URL that Apprise supports; docs/monitoring.md has examples")
    return client


@contextmanager
def _quiet() -> Iterator[StringIO]:
    """Capture Apprise's log instead of printing it, because it may contain the URL."""
    from apprise import LogCapture

    logger = logging.getLogger("apprise")
    before, logger.propagate = logger.propagate, False
    try:
        with LogCapture(level=logging.WARNING, fmt="%(message)s") as log:  # type: ignore[no-untyped-call]
            yield log
    finally:
        logger.propagate = before
