"""Rows into a table as fast as the database takes them: COPY, on PostgreSQL only."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import Row


async def copy_rows(
    connection: AsyncConnection, table: Table, columns: Sequence[Column[Any]], rows: Sequence[Row]
) -> None:
    """Append rows, in a transaction that has had a statement before; checks what the table checks.

    Raises the driver's errors, which `Database.writing` translates.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None, "a connection that answers has a driver"
    await driver.copy_records_to_table(table.name, records=rows, columns=[column.name for column in columns])
