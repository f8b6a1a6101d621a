"""The archiver: every record of the log into files that are kept, each once."""
