"""What Alembic runs: the connection comes from `migrate`, within its transaction."""

from alembic import context

from backbone.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
