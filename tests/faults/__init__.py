"""Faults on real servers under load, with a ledger of what was acknowledged; one oracle ends every test."""
