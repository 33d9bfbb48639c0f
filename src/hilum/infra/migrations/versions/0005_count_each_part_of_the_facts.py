"""count each part of the enforcement facts in a row of its own, and name what changed

Counts go on where they were, under marks of their own. Switches that were released are over; those that ran out are settled by the
next run of the job.

A process of an older version finds its tables gone and refuses everything: this step is not for a rolling upgrade.
"""

import secrets

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0005"
down_revision = "0004"
compatible_from = "0005"
branch_labels = None
depends_on = None

_PARTS = {"identity": "identity", "controls": "switches", "registry": "registry", "tokens": "tokens", "consent": "consent", "launches": "launches"}  # fmt: skip
_EPOCH = sa.table("fact_epoch", *(sa.column(name) for name in ("part", "n", "mark", "before", "at")))


def upgrade() -> None:
    op.create_table(
        "fact_epoch",
        sa.Column("part", sa.String(length=40), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("part", name=op.f("pk_fact_epoch")),
    )
    op.create_table(
        "fact_change",
        sa.Column("part", sa.String(length=40), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=700), nullable=False),
        sa.Column("before", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("part", "n", "at_n", name=op.f("pk_fact_change")),
    )
    with op.batch_alter_table("fact_change", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_fact_change_at"), ["at"], unique=False)
    _carry_counts_over()
    op.drop_table("registry_change")
    op.drop_table("control_epoch")

    with op.batch_alter_table("control_switch", schema=None) as batch_op:
        batch_op.add_column(sa.Column("over_at", Instant(), nullable=True))
        batch_op.drop_index(batch_op.f("ix_control_switch_kind_key"))
        batch_op.drop_index(batch_op.f("ix_control_switch_released_at_expires_at"))
    op.execute("UPDATE control_switch SET over_at = released_at WHERE released_at IS NOT NULL")
    standing = sa.text("over_at IS NULL")
    for name, columns in (("standing", ["kind", "key"]), ("expiring", ["expires_at"])):
        op.create_index(
            f"ix_control_switch_{name}",
            "control_switch",
            columns,
            sqlite_where=standing,
            postgresql_where=standing,
        )
    op.create_index(op.f("ix_control_quota_tenant"), "control_quota", ["tenant"], unique=False)


def _carry_counts_over() -> None:
    row = op.get_bind().execute(sa.text("SELECT * FROM control_epoch")).mappings().first()
    if row is None:
        return
    op.get_bind().execute(
        _EPOCH.insert(),
        [
            {"part": part, "n": row[old], "mark": secrets.randbits(62), "before": 0, "at": 0}
            for old, part in _PARTS.items()
            if row[old]
        ],
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_control_quota_tenant"), table_name="control_quota")
    for name in ("standing", "expiring"):
        op.drop_index(f"ix_control_switch_{name}", table_name="control_switch")
    with op.batch_alter_table("control_switch", schema=None) as batch_op:
        batch_op.drop_column("over_at")
        batch_op.create_index(batch_op.f("ix_control_switch_kind_key"), ["kind", "key"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_control_switch_released_at_expires_at"),
            ["released_at", "expires_at"],
            unique=False,
        )
    op.create_table(
        "control_epoch",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        *(sa.Column(part, sa.BigInteger(), nullable=False) for part in _PARTS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_control_epoch")),
    )
    op.create_table(
        "registry_change",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("n", "tenant", "app", name=op.f("pk_registry_change")),
    )
    op.drop_table("fact_change")
    op.drop_table("fact_epoch")
