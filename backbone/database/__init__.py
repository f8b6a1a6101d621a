"""The database port: an engine on PostgreSQL or SQLite, transactions, locks and migrations.

Guarantees of both adapters: a transaction that was committed is on disk; `lock` is held by one
process at a time and given up when that process dies; an error of the driver that means "not
there" is raised as Unavailable.
"""
