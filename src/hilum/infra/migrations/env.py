"""Alembic's entry: runs on the connection that ``run.migrate`` hands over."""

from alembic import context

from hilum.infra.db import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    user_module_prefix="",
)
with context.begin_transaction():
    context.run_migrations()
