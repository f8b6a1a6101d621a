"""Exports: a channel's messages, as they are or were, out of the database or out of its events."""
