"""The tables. Money is int64 nano-dollars; times are Unix milliseconds.

Ledger tables are append-only but for `accounts.balance`, which always equals
the sum of the account's entries, and the owner and state of leases and journals.
House accounts (revenue, cost, overrun, funding) have no balance: sums only.

An account's transfers and a key's calls are found by tables, not by indexes:
calls that end together belong to many keys, and an index would have a page of
its own written for nearly each of them (`ledger_index`).
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column that is exactly INTEGER.
Sequence = BigInteger().with_variant(Integer, "sqlite")


UNFINISHED_STATES = ("validating", "in_progress", "finalizing", "cancelling")
"""Of a batch that somebody has to work on."""
UNFINISHED = f"state IN {UNFINISHED_STATES}"


def _on_sqlite(column: str, target: str) -> ForeignKeyConstraint:
    """What the ledger's rows point to, where a declaration costs nothing.

    PostgreSQL would look for it row by row, which costs more than all the rest.
    Rows are made together with what they point to; the audit looks for orphans.
    """
    return ForeignKeyConstraint([column], [target]).ddl_if(dialect="sqlite")


accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # available, lease, house
    Column("balance", BigInteger),  # NULL for house accounts
    Column("credit_line", BigInteger),  # NULL: unlimited; 0: none
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("created_ms", BigInteger, nullable=False),
    CheckConstraint(
        "balance IS NULL OR credit_line IS NULL OR balance >= -credit_line",
        name="within_credit_line",
    ),
    # SQLite turns a sum beyond 64 bits into a float; far below that is refused.
    CheckConstraint(
        "balance IS NULL OR abs(balance) <= 4611686018427387904",
        name="within_range",
    ),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", Sequence, primary_key=True),
    # opening, credit, draw, return, settle, void
    Column("kind", Text, nullable=False),
    # What may be posted once: a call's id, `opening:<name>`, `credit:<id>`;
    # NULL for draws and returns, which only move money between pockets.
    Column("reference", Text, unique=True),
    # The available account on whose behalf the money moves.
    Column("account_id", Text, nullable=False),
    Column("held", BigInteger),  # settle and void: the hold it ends
    Column("excess", BigInteger, nullable=False, server_default="0"),  # above it
    Column("reason", Text, nullable=False, server_default=""),
    Column("price_version", Text, nullable=False, server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    _on_sqlite("account_id", "accounts.id"),
)

entries = Table(
    "entries",
    metadata,
    Column("transfer_id", Sequence, primary_key=True, autoincrement=False),
    Column("account_id", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    _on_sqlite("transfer_id", "transfers.id"),
    _on_sqlite("account_id", "accounts.id"),
    CheckConstraint("amount <> 0", name="not_zero"),
    sqlite_with_rowid=False,
)

# A lease account belongs to one journal until that is closed or recovered; then
# the next journal that draws on the same account takes it over.
leases = Table(
    "leases",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("available_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("owner", Text, nullable=False, index=True),  # the journal that spends it
    Column("epoch", Integer, nullable=False),  # rises with each new owner
    Column("state", Text, nullable=False),  # open, returned
    Column("created_ms", BigInteger, nullable=False),
    # What the owner keeps beyond its holds: 0 free money, 1 asked back, 2 nothing.
    Column("keeps", Integer, nullable=False, server_default="0"),
    Index(None, "available_id"),
    Index("ix_leases_asked", "owner", sqlite_where=text("keeps = 1")),
)

journals = Table(
    "journals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("drained_to", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False),  # open, closed, recovered
    Column("created_ms", BigInteger, nullable=False),
    # Names the data folder with its files; on SQLite there is but one.
    Column("home", Text, nullable=False, server_default=""),
    # When its process was last heard of, by the database's clock.
    Column("seen_ms", BigInteger, nullable=False, server_default="0"),
)

# One row per settle or void, under the transfer's number, which is also how a
# call is found by its id: transfers.reference is unique.
calls = Table(
    "calls",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("streamed", Integer, nullable=False),
    Column("requested_model", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("usage", Text, nullable=False),  # JSON object, unit: quantity
    Column("usage_source", Text, nullable=False),
    Column("cost", BigInteger),  # NULL: not known
    Column("list_price", BigInteger, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("first_token_ms", Integer, nullable=False),
    Column("total_ms", Integer, nullable=False),
    Column("attempts", Text, nullable=False),  # JSON array
    Column("translation", Text, nullable=False),
    _on_sqlite("seq", "transfers.id"),
)

# Responses that callers may ask for again, each by its owner alone.
responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
    Column("data", LargeBinary),  # sealed; NULL: the provider keeps it
)

# What callers have stored; the content is a blob under a name of ours.
files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("blob", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, index=True),  # NULL: never
    Index("ix_files_account", "account_id", "created_ms", "id"),
)

# Files that come in parts.
uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # that all parts shall have
    Column("state", Text, nullable=False),  # pending, completed, cancelled
    Column("keep_seconds", BigInteger),  # of the file; NULL: as its purpose has it
    Column("file_id", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("upload_id", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("blob", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

# Blobs to be removed once a time has come: those that nothing refers to any more,
# and, with time enough to become whole, those that are being written.
blob_removals = Table(
    "blob_removals",
    metadata,
    Column("blob", Text, primary_key=True),
    Column("due_ms", BigInteger, nullable=False, index=True),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("api", Text, nullable=False),  # openai, anthropic
    Column("endpoint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("input_file", Text),
    Column("input_blob", Text, nullable=False),
    Column("output_file", Text),
    Column("error_file", Text),
    Column("output_blob", Text),  # of what has no output file
    Column("keep_seconds", BigInteger),  # of what comes out; NULL: the usual time
    Column("completion_window", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON: metadata, errors, usage, times
    Column("total", Integer, nullable=False, server_default="0"),
    Column("completed", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    # The journal of the process that works on it; it ends with its process.
    Column("owner", Text, nullable=False, server_default=""),
    Index("ix_batches_account", "account_id", "created_ms", "id"),
    Index("ix_batches_unfinished", "created_ms", sqlite_where=text(UNFINISHED)),
)

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("custom_id", Text, nullable=False),
    Column("place", BigInteger, nullable=False),  # of its first byte in the input
    Column("size", Integer, nullable=False),
    Column("state", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("call_id", Text, nullable=False, server_default=""),
    Column("status", Integer, nullable=False, server_default="0"),
    Column("answer", LargeBinary),  # sealed
    Column("answer_blob", Text),  # of an answer that is large
    # The part of the batch that went to a provider; 0: not placed, -1: runs here.
    Column("part", Integer, nullable=False, server_default="0"),
    Index("ix_batch_lines_state", "batch_id", "state", "number"),
    sqlite_with_rowid=False,
)

# Batches that providers were given for batches of ours.
batch_parts = Table(
    "batch_parts",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("credential", Integer, nullable=False),
    Column("model", Text, nullable=False),  # the provider's name
    Column("url", Text, nullable=False),  # what every line asks, for the provider
    Column("lines", Integer, nullable=False),
    Column("reserve", BigInteger, nullable=False),  # nano-dollars
    Column("state", Integer, nullable=False),
    Column("remote_id", Text, nullable=False, server_default=""),
    Column("intended_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What providers keep for callers, learnt from their answers.
objects = Table(
    "objects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("family", Text, nullable=False),  # openai, anthropic
    Column("kind", Text, nullable=False),  # the list that it stands in; may be empty
    Column("credential", LargeBinary, nullable=False),  # a digest; empty: any
    Column("created_ms", BigInteger, nullable=False),
    Index(None, "account_id", "family", "kind", "created_ms", "id"),
)

# Files of ours that providers have been given, each for as long as we have it.
file_copies = Table(
    "file_copies",
    metadata,
    Column("id", Text, primary_key=True),  # the provider's
    Column("channel", Text, primary_key=True),
    Column("file_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("credential", LargeBinary, nullable=False),  # a digest
    Column("purpose", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),  # to delete it
    Column("due_ms", BigInteger, nullable=False, server_default="0"),  # of the next
    Index(None, "file_id", "channel"),
)

# A run of transfers, those after the last run's and up to its number, has a row
# in `run_transfers` for each transfer and one in `run_calls` for each call.
runs = Table(
    "runs",
    metadata,
    Column("up_to", Sequence, primary_key=True, autoincrement=False),
)

run_transfers = Table(
    "run_transfers",
    metadata,
    Column("run", Sequence, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("transfer_id", Sequence, primary_key=True),
    sqlite_with_rowid=False,
)

run_calls = Table(
    "run_calls",
    metadata,
    Column("run", Sequence, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("seq", Sequence, primary_key=True),
    sqlite_with_rowid=False,
)

price_versions = Table(
    "price_versions",
    metadata,
    Column("version", Text, primary_key=True),
    Column("content", Text, nullable=False),  # JSON
    Column("created_ms", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),  # last four characters, for people
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("opening", BigInteger),  # credit posted once; NULL: never asked for
    Column("rights", Text, nullable=False),  # JSON: models, limits, networks …
    Column("owner", Text, nullable=False),  # file, database
    Column("made", Integer, nullable=False),  # 1: we made it, 0: it was given
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("revoked_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
)

channels = Table(
    "channels",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("provider", Text, nullable=False),
    Column("credentials", LargeBinary, nullable=False),  # AES-256-GCM
    Column("specification", Text, nullable=False),  # JSON, without credentials
    Column("owner", Text, nullable=False),  # file, database
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("created_ms", BigInteger, nullable=False),
)

prices = Table(
    "prices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),  # a name or a wildcard
    Column("channel", Text, nullable=False),  # empty: the selling price
    Column("specification", Text, nullable=False),  # JSON
    Column("owner", Text, nullable=False),  # file, database
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("model", "channel"),
)

fallbacks = Table(
    "fallbacks",
    metadata,
    Column("model", Text, primary_key=True),
    Column("targets", Text, nullable=False),  # JSON array of model names
    Column("owner", Text, nullable=False),  # file, database
)

routing = Table(
    "routing",
    metadata,
    Column("kind", Text, primary_key=True),  # policy, rule
    Column("name", Text, primary_key=True),  # a model or wildcard; the rule's name
    Column("position", Integer, nullable=False),  # rules are asked in this order
    Column("specification", Text, nullable=False),  # JSON
    Column("owner", Text, nullable=False),  # file, database
)

# What providers have refused, until it is changed, enabled or accepted again.
refused_credentials = Table(
    "refused_credentials",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),  # of the credential, keyed
    Column("credential", Integer, nullable=False),  # its place in the channel then
    Column("status", Integer, nullable=False),  # the provider's
    Column("created_ms", BigInteger, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("subject", Text, nullable=False),  # configuration, key:<id>, account:<id>
    Column("created_ms", BigInteger, nullable=False, index=True),
    sqlite_autoincrement=True,  # a number is never given twice, also after pruning
)


def prepare_postgres() -> None:
    """Have indexes of a part of the rows be so on PostgreSQL as well.

    For who has a database there: it imports SQLAlchemy's dialect, 2 MiB and 50 ms.
    """
    for table in metadata.tables.values():
        for index in table.indexes:
            where = index.dialect_kwargs.get("sqlite_where")
            if where is not None:
                index.dialect_kwargs["postgresql_where"] = where
