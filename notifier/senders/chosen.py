"""Which senders the settings choose."""

from collections.abc import Sequence

from backbone.clock import Clock
from backbone.settings import Settings
from notifier.senders import Sender


def chosen_senders(settings: Settings, clock: Clock) -> Sequence[Sender]:
    """Return the senders of MAEARI_SENDERS; each connects on first use."""
    return [open_sender(name, settings, clock) for name in settings.senders]


def open_sender(name: str, settings: Settings, clock: Clock) -> Sender:
    """Return the sender of this name, `console` or `webhook`; its settings are checked already."""
    if name == "console":
        from notifier.senders.console import ConsoleSender  # noqa: PLC0415

        return ConsoleSender()
    from notifier.senders.webhook import WebhookSender  # noqa: PLC0415

    assert settings.webhook.url is not None, "the settings were checked"
    return WebhookSender(settings.webhook.url, settings.webhook.secrets, clock)
