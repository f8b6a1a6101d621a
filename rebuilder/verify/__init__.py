"""Verification: whether database, log, index and archive hold the same, and what differs if not."""
