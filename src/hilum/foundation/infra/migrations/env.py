"""Alembic's entry point: runs the migrations on the connection of ``run.migrate``."""

from alembic import context

from hilum.foundation.infra.db import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    user_module_prefix="",
)
with context.begin_transaction():
    context.run_migrations()
