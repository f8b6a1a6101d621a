"""The commands about notifications, as the command line takes them: `listen`, `notifications replay`."""

from pathlib import Path

import click

from maeari.process import WRONG_SETUP, fail, run_work, settings_or_exit
from maeari.usage import data_option
from schemas.topics import GROUP_OF_SENDER

_user = click.option("--user", "user_id", required=True, help="Whose they are.")


@click.command("listen")
@_user
@click.option("--url", help="The notifier's socket.  [default: ws://127.0.0.1:8001/ws, as the settings say]")
@click.option(
    "--after", type=click.IntRange(0), help="Begin behind this number; without it, with what is new."
)
@click.option(
    "--token",
    envvar="MAEARI_TOKEN",
    show_envvar=True,
    help="Where the notifier asks for tokens, see `maeari token`.",
)
@data_option
def listen(user_id: str, url: str | None, after: int | None, token: str | None, data: Path | None) -> None:
    """Print a user's notifications as they arrive, until interrupted."""
    from maeari.listen import default_url  # noqa: PLC0415
    from maeari.listen import listen as run  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: run(url or default_url(settings), user_id, after, token))


@click.group()
def notifications() -> None:
    """What users were told."""


@notifications.command("replay")
@_user
@click.option("--after", type=click.IntRange(0), required=True, help="Begin behind this number of the inbox.")
@click.option(
    "--sender",
    type=click.Choice(list(GROUP_OF_SENDER)),
    default="webhook",
    show_default=True,
    help="The way out.",
)
@data_option
def notifications_replay(user_id: str, after: int, sender: str, data: Path | None) -> None:
    """Send a user's notifications once more, as far back as the log goes (30 days), with the same ids."""
    from maeari.notifications import replay  # noqa: PLC0415

    settings = settings_or_exit(data)
    if sender == "webhook" and (settings.webhook.url is None or not settings.webhook.secrets):
        fail("MAEARI_WEBHOOK_URL, MAEARI_WEBHOOK_SECRET: webhooks need both", WRONG_SETUP)
    run_work(settings, lambda: replay(settings, sender, user_id, after))
