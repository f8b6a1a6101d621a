"""The command: every process and every tool of the platform behind one name."""
