"""What may happen: pure decisions over a channel and its messages; no I/O, no clock of its own."""
