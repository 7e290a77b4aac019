"""The notification block of the Prefect server, registered through `prefect.collections` in pyproject.toml.

Prefect's own blocks support one service each, not plain email, and send exception texts unescaped, which email clients
render as HTML.
"""

from prefect.blocks.notifications import AppriseNotificationBlock

from flows.notify.redact import redact

NAME = "fashion"  # of the block document


class FashionNotification(AppriseNotificationBlock):
    """Sends to any URL that Apprise supports, with secrets redacted."""

    _block_type_name = "Fashion Notification"
    _block_type_slug = "fashion-notification"

    def block_initialization(self) -> None:
        """Create the client in text mode; otherwise emails lose line breaks and anything in angle brackets."""
        from apprise import NotifyFormat

        super().block_initialization()
        self._apprise_client.asset.body_format = NotifyFormat.TEXT  # type: ignore[assignment]  # declared as None

    async def anotify(self, body: str, subject: str | None = None) -> None:
        """Send a message."""
        await super().anotify(redact(body), redact(subject or ""))

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send a message; the server awaits this method."""
        await self.anotify(body, subject)
