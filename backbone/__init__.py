"""What carries it: the ports (event log, database, search), their adapters, settings and wiring."""
