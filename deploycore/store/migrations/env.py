"""What Alembic executes for each command: it runs the migrations on the given connection.

The caller began the transaction and will commit it, so that a database is either of the
old version or of the new one, also when the process dies between two statements.
"""

from alembic import context

from deploycore.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
)
with context.begin_transaction():
    context.run_migrations()
