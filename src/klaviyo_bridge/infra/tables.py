"""Every table of the bridge's own database. All of them carry the account.

The schema is created and changed by `migrations/` only; a test keeps the two equal.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from klaviyo_bridge.infra.database import UtcDateTime

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Json = sa.JSON().with_variant(postgresql.JSONB, "postgresql")


def _account(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("account", sa.String(64), primary_key=primary_key, nullable=False)


def _partial_index(name: str, *columns: str, state: str) -> sa.Index:
    """Over the rows in one state only, so that it stays small while the table keeps its history."""
    condition = sa.text(f"state = '{state}'")
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


accounts = sa.Table(
    "accounts",
    metadata,
    _account(primary_key=True),
    sa.Column("key_fingerprint", sa.String(64), comment="tells a new key from the refused one"),
    sa.Column("stopped_at", UtcDateTime, comment="set while Klaviyo refuses the key: nothing is sent"),
    sa.Column("stopped_because", sa.Text),
)

people = sa.Table(
    "people",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    _account(),
    sa.Column("klaviyo_id", sa.String(64)),
    sa.Column("base", Json, nullable=False, comment="field -> value last agreed on; null is agreed emptiness"),
    sa.Column("written", Json, nullable=False, comment="field -> id of the outbox row that wrote it last"),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("ix_people_klaviyo", "account", "klaviyo_id", unique=True),
)

identifiers = sa.Table(
    "identifiers",
    metadata,
    _account(primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True, comment="external_id, email or phone_number"),
    sa.Column("value", sa.String(255), primary_key=True),
    sa.Column("person_id", sa.BigInteger, sa.ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    sa.Index("ix_identifiers_person", "person_id"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    _account(),
    sa.Column("kind", sa.String(16), nullable=False, comment="profile, event, subscribe, …"),
    sa.Column("person_id", sa.BigInteger, nullable=False, comment="whom it writes; the fence looks here"),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("dedupe_key", sa.String(64), comment="the same key is taken once"),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("batch_id", sa.String(36)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("settled_at", UtcDateTime),
    sa.Column("reason", sa.String(64), comment="a short code; why the row ended as it did"),
    sa.Column("detail", sa.Text, comment="the reason in words, without the person's data"),
    sa.Column("trace", sa.String(55), comment="W3C traceparent of the request that brought it"),
    sa.UniqueConstraint("account", "kind", "dedupe_key"),
    _partial_index("ix_outbox_waiting", "account", "priority", "id", state="waiting"),
    _partial_index("ix_outbox_waiting_person", "account", "person_id", state="waiting"),
    _partial_index("ix_outbox_fence", "account", "person_id", "kind", state="batched"),
    _partial_index("ix_outbox_dead", "account", "reason", "id", state="dead"),
    _partial_index("ix_outbox_refused", "account", "id", state="refused"),
    sa.Index("ix_outbox_person", "account", "person_id"),
    sa.Index("ix_outbox_batch", "batch_id"),
    sa.Index("ix_outbox_settled", "account", "settled_at"),
    sqlite_autoincrement=True,
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    _account(),
    sa.Column("lane", sa.String(48), nullable=False, comment="the Klaviyo operation it goes by"),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("job_id", sa.String(255), comment="Klaviyo's import job"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("sent_at", UtcDateTime, comment="written before the first byte leaves"),
    sa.Column("begun_at", UtcDateTime, comment="when a worker began the current attempt"),
    sa.Column("accepted_at", UtcDateTime),
    sa.Column("settled_at", UtcDateTime),
    sa.Column("retry_at", UtcDateTime),
    sa.Column("last_error", sa.Text),
    sa.Column("trace", sa.String(55)),
    sa.Index("ix_batches_state", "account", "state", "created_at"),
    sa.Index("ix_batches_job", "account", "job_id"),
)

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    _account(),
    sa.Column("external_id", sa.String(255), nullable=False, comment="Klaviyo's event id, signed"),
    sa.Column("topic", sa.String(255), nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false(), comment="is in `engagement`"),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False, comment="a job should have come by; else it is stranded"),
    sa.Column("handled_at", UtcDateTime),
    sa.Column("last_error", sa.Text),
    sa.UniqueConstraint("account", "external_id"),
    _partial_index("ix_inbox_stored", "account", "due_at", state="stored"),
    _partial_index("ix_inbox_dead", "account", "id", state="dead"),
    sa.Index("ix_inbox_received", "account", "received_at"),
    sqlite_autoincrement=True,
)

engagement = sa.Table(
    "engagement",
    metadata,
    _account(primary_key=True),
    sa.Column("message_id", sa.String(255), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True, comment="delivered, opened, clicked, …"),
    sa.Column("campaign_id", sa.String(255)),
    sa.Column("flow_id", sa.String(255)),
    sa.Column("events", sa.BigInteger, nullable=False, comment="each event of Klaviyo's counted once"),
    sa.Column("first_at", UtcDateTime, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
    sa.Index("ix_engagement_campaign", "account", "campaign_id"),
)

consent_records = sa.Table(
    "consent_records",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    _account(),
    sa.Column("person_id", sa.BigInteger, nullable=False),
    sa.Column("channel", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False, comment="when the person said so"),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("evidence", sa.Text),
    sa.Column("list_id", sa.String(64), nullable=False, server_default="", comment="empty: about all of Klaviyo"),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("account", "person_id", "channel", "state", "at", "list_id"),
    sqlite_autoincrement=True,
)

tombstones = sa.Table(
    "tombstones",
    metadata,
    _account(primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True, comment="keyed hash of one identifier of an erased person"),
    sa.Column("person_id", sa.BigInteger, nullable=False),
    sa.Column("erased_at", UtcDateTime, nullable=False),
    sa.Index("ix_tombstones_person", "account", "person_id"),
)

source_rows = sa.Table(
    "source_rows",
    metadata,
    _account(primary_key=True),
    sa.Column("mapping", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary(16), nullable=False),
    sa.Column("person_id", sa.BigInteger, nullable=False),
)

cursors = sa.Table(
    "cursors",
    metadata,
    _account(primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("value", Json, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

gate_windows = sa.Table(
    "gate_windows",
    metadata,
    _account(primary_key=True),
    sa.Column("lane", sa.String(100), primary_key=True, comment="a Klaviyo operation, or a variant of it"),
    sa.Column("state", sa.LargeBinary, nullable=False, comment="recent calls and pauses, as the gate packs them"),
)

breakers = sa.Table(
    "breakers",
    metadata,
    _account(primary_key=True),
    sa.Column("state", sa.String(12), nullable=False, comment="closed, open or half-open"),
    sa.Column("failures", sa.Integer, nullable=False, comment="in a row"),
    sa.Column("opened_at", sa.Float(53), nullable=False, comment="seconds of the store's clock"),
    sa.Column("probe_until", sa.Float(53), nullable=False, comment="seconds of the store's clock"),
)
