"""Inboxes from the log: who is to be told of what, proven, and put right where it differs."""
