"""Sending a message to the address in FASHION_NOTIFY_URL, with Apprise."""

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
    """Where messages go."""

    model_config = SettingsConfigDict(env_prefix="FASHION_", frozen=True)

    notify_url: pydantic.SecretStr = pydantic.SecretStr("")  # for Apprise, several with spaces between; empty: nowhere


def notify_url() -> str:
    """The address, or "" where there is none.

    Raises:
        SettingsError: Apprise cannot use it.
    """
    url = read_settings(NotifySettings).notify_url.get_secret_value().strip()
    if url:
        with _quiet():
            _client(url)
    return url


def send(message: Message) -> None:
    """Send a message, without the secrets that may be in it.

    Raises:
        SettingsError: there is no address, or it cannot be used.
        NotificationFailed: it could not be delivered.
    """
    url = notify_url()
    if not url:
        raise SettingsError(f"{NAME} is not set, so nobody can be told; docs/monitoring.md has examples")
    with _quiet() as said:
        delivered = _client(url).notify(title=redact(message.what), body=redact(message.text))
        lines = said.getvalue().splitlines()
    if not delivered:
        raise NotificationFailed(f"nobody was told: {redact('; '.join(lines)) or 'the address did not take it'}")


def try_send(message: Message) -> None:
    """Send a message where there is an address; one that cannot be sent is a line on standard error and no more."""
    try:
        if notify_url():
            send(message)
    except (NotificationFailed, SettingsError) as error:
        print(f"warning: {error}", file=sys.stderr)


def _client(url: str) -> "Apprise":
    from apprise import Apprise, AppriseAsset, NotifyFormat

    client = Apprise(asset=AppriseAsset(body_format=NotifyFormat.TEXT))  # else a mail has no lines, and no <words>
    if not client.add(url):
        raise SettingsError(f"{NAME}: not an address that Apprise knows; docs/monitoring.md has examples")
    return client


@contextmanager
def _quiet() -> Iterator[StringIO]:
    """Collect what Apprise logs, which may have the address in it, instead of printing it."""
    from apprise import LogCapture

    logger = logging.getLogger("apprise")
    before, logger.propagate = logger.propagate, False
    try:
        with LogCapture(level=logging.WARNING, fmt="%(message)s") as said:  # type: ignore[no-untyped-call]
            yield said
    finally:
        logger.propagate = before
