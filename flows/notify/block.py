"""The block that Prefect's server sends messages by, which finds it through `prefect.collections` in pyproject.toml.

Prefect's own blocks know one service each, none of them plain mail, and send the texts of exceptions as they are, which
a mail then shows as HTML.
"""

from prefect.blocks.notifications import AppriseNotificationBlock

from flows.notify.redact import redact

NAME = "fashion"  # of the one document


class FashionNotification(AppriseNotificationBlock):
    """Sends to any address that Apprise knows, without the secrets that may be in a text."""

    _block_type_name = "Fashion Notification"
    _block_type_slug = "fashion-notification"

    def block_initialization(self) -> None:
        """Make the client, and have it take texts for texts: else a mail has no lines, and no <words>."""
        from apprise import NotifyFormat

        super().block_initialization()
        self._apprise_client.asset.body_format = NotifyFormat.TEXT  # type: ignore[assignment]  # it is declared None

    async def anotify(self, body: str, subject: str | None = None) -> None:
        """Send a message."""
        await super().anotify(redact(body), redact(subject or ""))

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send a message; the server awaits this one."""
        await self.anotify(body, subject)
