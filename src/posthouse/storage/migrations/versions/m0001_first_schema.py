"""Make the first schema."""

import sqlalchemy as sa
from alembic import op

from posthouse.storage.migrations.copy_tables import create_file_copies
from posthouse.storage.migrations.file_tables import (
    create_file_tables,
    drop_file_tables,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    create_accounts()
    create_changes()
    create_channels()
    create_fallbacks()
    create_journals()
    create_price_versions()
    create_prices()
    create_refused_credentials()
    create_routing()
    create_keys()
    create_leases()
    create_transfers()
    create_calls()
    create_entries()
    create_responses()
    create_objects()
    create_runs()
    create_file_tables()
    create_file_copies()


def downgrade() -> None:
    """Go back."""
    op.drop_table("file_copies")
    drop_file_tables()
    op.drop_table("objects")
    op.drop_table("responses")
    op.drop_table("run_calls")
    op.drop_table("run_transfers")
    op.drop_table("runs")
    op.drop_table("entries")
    op.drop_table("calls")
    op.drop_table("transfers")
    op.drop_table("leases")
    op.drop_table("keys")
    op.drop_table("routing")
    op.drop_table("refused_credentials")
    op.drop_table("prices")
    op.drop_table("price_versions")
    op.drop_table("journals")
    op.drop_table("fallbacks")
    op.drop_table("channels")
    op.drop_table("changes")
    op.drop_table("accounts")


def create_accounts() -> None:
    """Create `accounts` and its indexes."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=True),
        sa.Column("credit_line", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "balance IS NULL OR abs(balance) <= 4611686018427387904",
            name=op.f("ck_accounts_within_range"),
        ),
        sa.CheckConstraint(
            "balance IS NULL OR credit_line IS NULL OR balance >= -credit_line",
            name=op.f("ck_accounts_within_credit_line"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )


def create_changes() -> None:
    """Create `changes` and its indexes."""
    op.create_table(
        "changes",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_changes_created_ms"), "changes", ["created_ms"], unique=False
    )


def create_channels() -> None:
    """Create `channels` and its indexes."""
    op.create_table(
        "channels",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("credentials", sa.LargeBinary(), nullable=False),
        sa.Column("specification", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
        sa.UniqueConstraint("name", name=op.f("uq_channels_name")),
    )


def create_fallbacks() -> None:
    """Create `fallbacks` and its indexes."""
    op.create_table(
        "fallbacks",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("targets", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_fallbacks")),
    )


def create_journals() -> None:
    """Create `journals` and its indexes."""
    op.create_table(
        "journals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("drained_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("home", sa.Text(), server_default="", nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journals")),
    )


def create_price_versions() -> None:
    """Create `price_versions` and its indexes."""
    op.create_table(
        "price_versions",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_price_versions")),
    )


def create_prices() -> None:
    """Create `prices` and its indexes."""
    op.create_table(
        "prices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("specification", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
        sa.UniqueConstraint("model", "channel", name=op.f("uq_prices_model_channel")),
    )


def create_refused_credentials() -> None:
    """Create `refused_credentials` and its indexes."""
    op.create_table(
        "refused_credentials",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("credential", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "channel", "fingerprint", name=op.f("pk_refused_credentials")
        ),
    )


def create_routing() -> None:
    """Create `routing` and its indexes."""
    op.create_table(
        "routing",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("specification", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_routing")),
    )


def create_keys() -> None:
    """Create `keys` and its indexes."""
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("opening", sa.BigInteger(), nullable=True),
        sa.Column("rights", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Integer(), server_default="1", nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_keys_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_keys_digest")),
        sa.UniqueConstraint("name", name=op.f("uq_keys_name")),
    )


def create_leases() -> None:
    """Create `leases` and its indexes."""
    op.create_table(
        "leases",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("available_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("keeps", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_leases_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["available_id"], ["accounts.id"], name=op.f("fk_leases_available_id")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_leases")),
    )
    op.create_index(
        op.f("ix_leases_available_id"), "leases", ["available_id"], unique=False
    )
    op.create_index(op.f("ix_leases_owner"), "leases", ["owner"], unique=False)
    op.create_index(
        "ix_leases_asked",
        "leases",
        ["owner"],
        unique=False,
        sqlite_where=sa.text("keeps = 1"),
        postgresql_where=sa.text("keeps = 1"),
    )


def create_transfers() -> None:
    """Create `transfers`."""
    op.create_table(
        "transfers",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=True),
        sa.Column("excess", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("price_version", sa.Text(), server_default="", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_transfers_account_id")
        ).ddl_if(dialect="sqlite"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
        sa.UniqueConstraint("reference", name=op.f("uq_transfers_reference")),
    )


def create_calls() -> None:
    """Create `calls`."""
    op.create_table(
        "calls",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("streamed", sa.Integer(), nullable=False),
        sa.Column("requested_model", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("upstream_model", sa.Text(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("usage_source", sa.Text(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=True),
        sa.Column("list_price", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("price_version", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("first_token_ms", sa.Integer(), nullable=False),
        sa.Column("total_ms", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Text(), nullable=False),
        sa.Column("translation", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["seq"], ["transfers.id"], name=op.f("fk_calls_seq")
        ).ddl_if(dialect="sqlite"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_calls")),
    )


def create_entries() -> None:
    """Create `entries` and its indexes."""
    op.create_table(
        "entries",
        sa.Column(
            "transfer_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_entries_not_zero")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_entries_account_id")
        ).ddl_if(dialect="sqlite"),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["transfers.id"], name=op.f("fk_entries_transfer_id")
        ).ddl_if(dialect="sqlite"),
        sa.PrimaryKeyConstraint("transfer_id", "account_id", name=op.f("pk_entries")),
        sqlite_with_rowid=False,
    )


def create_responses() -> None:
    """Create `responses` and its index."""
    op.create_table(
        "responses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responses")),
    )
    op.create_index(
        op.f("ix_responses_expires_ms"), "responses", ["expires_ms"], unique=False
    )


def create_objects() -> None:
    """Create `objects` and its index."""
    op.create_table(
        "objects",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", "channel", name=op.f("pk_objects")),
    )
    op.create_index(
        op.f("ix_objects_account_id_family_kind_created_ms_id"),
        "objects",
        ["account_id", "family", "kind", "created_ms", "id"],
        unique=False,
    )


def create_runs() -> None:
    """Create `runs` and what is in each."""
    op.create_table(
        "runs",
        sa.Column(
            "up_to",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("up_to", name=op.f("pk_runs")),
    )
    create_run_table("run_transfers", "account_id", "transfer_id")
    create_run_table("run_calls", "key_id", "seq")


def create_run_table(name: str, owner: str, number: str) -> None:
    """Create a table of whose each number in a run is."""
    op.create_table(
        name,
        sa.Column(
            "run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(owner, sa.Text(), nullable=False),
        sa.Column(
            number, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("run", owner, number, name=op.f(f"pk_{name}")),
        sqlite_with_rowid=False,
    )
