"""The first schema's table of files that providers have been given."""

import sqlalchemy as sa
from alembic import op


def create_file_copies() -> None:
    """Create `file_copies` and its index."""
    op.create_table(
        "file_copies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", "channel", name=op.f("pk_file_copies")),
    )
    op.create_index(
        op.f("ix_file_copies_file_id_channel"), "file_copies", ["file_id", "channel"]
    )
