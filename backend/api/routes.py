"""Every route of the API, probes aside."""

from collections.abc import Sequence

from litestar.handlers import HTTPRouteHandler

from backend.api.channels import make_channel, read_channel, read_channels
from backend.api.members import put_member, read_members, remove_member
from backend.api.messages import delete_message, edit_message, post_message, read_message
from backend.api.preferences import put_channel_level, put_preferences, read_preferences, read_why
from backend.api.reading import (
    mark_channel_read,
    mark_notifications_read,
    read_notifications,
    read_unread,
)
from backend.api.search import search_messages
from backend.api.streams import read_channel_events, read_channel_messages, read_history, read_replies

ROUTES: Sequence[HTTPRouteHandler] = (
    post_message,
    read_message,
    edit_message,
    delete_message,
    search_messages,
    read_history,
    read_replies,
    make_channel,
    read_channels,
    read_channel,
    read_channel_messages,
    read_channel_events,
    read_members,
    put_member,
    remove_member,
    mark_channel_read,
    read_unread,
    read_notifications,
    mark_notifications_read,
    read_preferences,
    put_preferences,
    put_channel_level,
    read_why,
)
