"""Create the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column(
            "key_fingerprint", sa.String(length=64), nullable=True, comment="tells a new key from the refused one"
        ),
        sa.Column(
            "stopped_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="set while Klaviyo refuses the key: nothing is sent",
        ),
        sa.Column("stopped_because", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_accounts")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=48), nullable=False, comment="the Klaviyo operation it goes by"),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("job_id", sa.String(length=255), nullable=True, comment="Klaviyo's import job"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True, comment="written before the first byte leaves"),
        sa.Column(
            "begun_at", sa.DateTime(timezone=True), nullable=True, comment="when a worker began the current attempt"
        ),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("trace", sa.String(length=55), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_job", "batches", ["account", "job_id"], unique=False)
    op.create_index("ix_batches_state", "batches", ["account", "state", "created_at"], unique=False)
    op.create_table(
        "breakers",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False, comment="closed, open or half-open"),
        sa.Column("failures", sa.Integer(), nullable=False, comment="in a row"),
        sa.Column("opened_at", sa.Float(precision=53), nullable=False, comment="seconds of the store's clock"),
        sa.Column("probe_until", sa.Float(precision=53), nullable=False, comment="seconds of the store's clock"),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_breakers")),
    )
    op.create_table(
        "consent_records",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="when the person said so"),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column(
            "list_id", sa.String(length=64), server_default="", nullable=False, comment="empty: about all of Klaviyo"
        ),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_records")),
        sa.UniqueConstraint(
            "account",
            "person_id",
            "channel",
            "state",
            "at",
            "list_id",
            name=op.f("uq_consent_records_account_person_id_channel_state_at_list_id"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cursors",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("pk_cursors")),
    )
    op.create_table(
        "engagement",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="delivered, opened, clicked, …"),
        sa.Column("campaign_id", sa.String(length=255), nullable=True),
        sa.Column("flow_id", sa.String(length=255), nullable=True),
        sa.Column("events", sa.BigInteger(), nullable=False, comment="each event of Klaviyo's counted once"),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "message_id", "kind", name=op.f("pk_engagement")),
    )
    op.create_index("ix_engagement_campaign", "engagement", ["account", "campaign_id"], unique=False)
    op.create_table(
        "gate_windows",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=100), nullable=False, comment="a Klaviyo operation, or a variant of it"),
        sa.Column("state", sa.LargeBinary(), nullable=False, comment="recent calls and pauses, as the gate packs them"),
        sa.PrimaryKeyConstraint("account", "lane", name=op.f("pk_gate_windows")),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("external_id", sa.String(length=255), nullable=False, comment="Klaviyo's event id, signed"),
        sa.Column("topic", sa.String(length=255), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("counted", sa.Boolean(), server_default=sa.false(), nullable=False, comment="is in `engagement`"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="a job should have come by; else it is stranded",
        ),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("account", "external_id", name=op.f("uq_inbox_account_external_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_inbox_dead",
        "inbox",
        ["account", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index("ix_inbox_received", "inbox", ["account", "received_at"], unique=False)
    op.create_index(
        "ix_inbox_stored",
        "inbox",
        ["account", "due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'stored'"),
        postgresql_where=sa.text("state = 'stored'"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="profile, event, subscribe, …"),
        sa.Column("person_id", sa.BigInteger(), nullable=False, comment="whom it writes; the fence looks here"),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("dedupe_key", sa.String(length=64), nullable=True, comment="the same key is taken once"),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("batch_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True, comment="a short code; why the row ended as it did"),
        sa.Column("detail", sa.Text(), nullable=True, comment="the reason in words, without the person's data"),
        sa.Column(
            "trace", sa.String(length=55), nullable=True, comment="W3C traceparent of the request that brought it"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("account", "kind", "dedupe_key", name=op.f("uq_outbox_account_kind_dedupe_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_batch", "outbox", ["batch_id"], unique=False)
    op.create_index(
        "ix_outbox_dead",
        "outbox",
        ["account", "reason", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_outbox_fence",
        "outbox",
        ["account", "person_id", "kind"],
        unique=False,
        sqlite_where=sa.text("state = 'batched'"),
        postgresql_where=sa.text("state = 'batched'"),
    )
    op.create_index("ix_outbox_person", "outbox", ["account", "person_id"], unique=False)
    op.create_index(
        "ix_outbox_refused",
        "outbox",
        ["account", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'refused'"),
        postgresql_where=sa.text("state = 'refused'"),
    )
    op.create_index("ix_outbox_settled", "outbox", ["account", "settled_at"], unique=False)
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["account", "priority", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_outbox_waiting_person",
        "outbox",
        ["account", "person_id"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "people",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("klaviyo_id", sa.String(length=64), nullable=True),
        sa.Column(
            "base",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
            comment="field -> value last agreed on; null is agreed emptiness",
        ),
        sa.Column(
            "written",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
            comment="field -> id of the outbox row that wrote it last",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
    )
    op.create_index("ix_people_klaviyo", "people", ["account", "klaviyo_id"], unique=True)
    op.create_table(
        "source_rows",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("mapping", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=16), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "mapping", "key", name=op.f("pk_source_rows")),
    )
    op.create_table(
        "tombstones",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column(
            "digest", sa.String(length=64), nullable=False, comment="keyed hash of one identifier of an erased person"
        ),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "digest", name=op.f("pk_tombstones")),
    )
    op.create_index("ix_tombstones_person", "tombstones", ["account", "person_id"], unique=False)
    op.create_table(
        "identifiers",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="external_id, email or phone_number"),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_identifiers_person_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account", "kind", "value", name=op.f("pk_identifiers")),
    )
    op.create_index("ix_identifiers_person", "identifiers", ["person_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_identifiers_person", table_name="identifiers")
    op.drop_table("identifiers")
    op.drop_index("ix_tombstones_person", table_name="tombstones")
    op.drop_table("tombstones")
    op.drop_table("source_rows")
    op.drop_index("ix_people_klaviyo", table_name="people")
    op.drop_table("people")
    op.drop_index(
        "ix_outbox_waiting_person",
        table_name="outbox",
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.drop_index(
        "ix_outbox_waiting",
        table_name="outbox",
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.drop_index("ix_outbox_settled", table_name="outbox")
    op.drop_index(
        "ix_outbox_refused",
        table_name="outbox",
        sqlite_where=sa.text("state = 'refused'"),
        postgresql_where=sa.text("state = 'refused'"),
    )
    op.drop_index("ix_outbox_person", table_name="outbox")
    op.drop_index(
        "ix_outbox_fence",
        table_name="outbox",
        sqlite_where=sa.text("state = 'batched'"),
        postgresql_where=sa.text("state = 'batched'"),
    )
    op.drop_index(
        "ix_outbox_dead",
        table_name="outbox",
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.drop_index("ix_outbox_batch", table_name="outbox")
    op.drop_table("outbox")
    op.drop_index(
        "ix_inbox_stored",
        table_name="inbox",
        sqlite_where=sa.text("state = 'stored'"),
        postgresql_where=sa.text("state = 'stored'"),
    )
    op.drop_index("ix_inbox_received", table_name="inbox")
    op.drop_index(
        "ix_inbox_dead",
        table_name="inbox",
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.drop_table("inbox")
    op.drop_table("gate_windows")
    op.drop_index("ix_engagement_campaign", table_name="engagement")
    op.drop_table("engagement")
    op.drop_table("cursors")
    op.drop_table("consent_records")
    op.drop_table("breakers")
    op.drop_index("ix_batches_state", table_name="batches")
    op.drop_index("ix_batches_job", table_name="batches")
    op.drop_table("batches")
    op.drop_table("accounts")
