"""The composition root: settings in, every object out. Who builds something is answered here, and only here."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from klaviyo_bridge.config import EventSettings, MappingSettings, Settings
from klaviyo_bridge.domain.consent import Channel
from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.event_mapping import EventMapping
from klaviyo_bridge.domain.mapping import Deletes, Direction, FieldRule, Invalid, Owner, TableMapping, is_field
from klaviyo_bridge.domain.outbox import Lane
from klaviyo_bridge.domain.profile import ProfileChange
from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.errors import ConfigError, Problem
from klaviyo_bridge.infra.cache import open_cache
from klaviyo_bridge.infra.database import Database, open_database
from klaviyo_bridge.infra.engine import Argument, Engine, Queue, open_engine
from klaviyo_bridge.infra.event_source import EventSource, open_event_source
from klaviyo_bridge.infra.migrate import is_current, migrate
from klaviyo_bridge.infra.source.opening import open_source
from klaviyo_bridge.infra.source.reading import Source
from klaviyo_bridge.infra.stores.batches import BatchStore
from klaviyo_bridge.infra.stores.breaker_store import SQLBreakerStore
from klaviyo_bridge.infra.stores.consent import ConsentStore
from klaviyo_bridge.infra.stores.cursors import AccountStore, CursorStore
from klaviyo_bridge.infra.stores.dead_letters import DeadLetterStore
from klaviyo_bridge.infra.stores.engagement import EngagementStore
from klaviyo_bridge.infra.stores.gate_store import SQLGateStore
from klaviyo_bridge.infra.stores.inbox import InboxStore
from klaviyo_bridge.infra.stores.meetings import MeetingStore
from klaviyo_bridge.infra.stores.outbox import OutboxStore
from klaviyo_bridge.infra.stores.profiles import ProfileStore
from klaviyo_bridge.infra.stores.sync_records import SyncRecords
from klaviyo_bridge.infra.stores.tombstones import Tombstones
from klaviyo_bridge.infra.stores.vitals import VitalsStore
from klaviyo_bridge.infra.telemetry import Recorder, Telemetry, open_telemetry
from klaviyo_bridge.jobs.bell import Bell
from klaviyo_bridge.jobs.pulses import Heart
from klaviyo_bridge.jobs.registry import JobKind, Pulse, QueueName
from klaviyo_bridge.klaviyo.allowance import allowance_used
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.breaker import Breaker
from klaviyo_bridge.klaviyo.filters import any_of
from klaviyo_bridge.klaviyo.gate import Gate
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.services.consent import ConsentKeeper
from klaviyo_bridge.services.dead_letters import DeadLetters
from klaviyo_bridge.services.delivery.consent_lanes import consent_lanes
from klaviyo_bridge.services.delivery.consent_settlement import ConsentSettlement
from klaviyo_bridge.services.delivery.lanes import BulkEvents, Events, Imports, LaneSender, Upserts
from klaviyo_bridge.services.delivery.sender import Delivery
from klaviyo_bridge.services.delivery.settlement import Settlement
from klaviyo_bridge.services.delivery.steps import Checkpoint, unwatched
from klaviyo_bridge.services.doctor import Doctor
from klaviyo_bridge.services.engagement import Engagement
from klaviyo_bridge.services.event_history import EventHistory
from klaviyo_bridge.services.event_poll import EventPoll
from klaviyo_bridge.services.event_tracker import EventTracker
from klaviyo_bridge.services.health import Health
from klaviyo_bridge.services.inbox import Inbox
from klaviyo_bridge.services.ingest import GroupCommit
from klaviyo_bridge.services.list_manager import ListManager
from klaviyo_bridge.services.metrics_export.export import Files, MetricsExport, Plan
from klaviyo_bridge.services.profile_merge import ProfileMerge
from klaviyo_bridge.services.profile_pull import ProfilePull
from klaviyo_bridge.services.profile_push import SourcePush
from klaviyo_bridge.services.profile_sync import ProfileSync
from klaviyo_bridge.services.profile_verify import ProfileVerify
from klaviyo_bridge.services.segment_query import SegmentQuery
from klaviyo_bridge.services.vital_signs import VitalSigns, readings
from klaviyo_bridge.services.webhook_subscriptions import Subscriptions
from klaviyo_bridge.webhooks.handlers import campaign_events, profile_events
from klaviyo_bridge.webhooks.router import Router

PLAN = "plan"
ERASURE_KEY = "erasure-key"
STRANDED_AFTER = timedelta(minutes=15)
_LIVE = (
    Lane.UPSERT,
    Lane.EVENT,
    Lane.SUBSCRIBE,
    Lane.UNSUBSCRIBE,
    Lane.SUPPRESS,
    Lane.UNSUPPRESS,
    Lane.ERASE,
)
_QUEUES: Mapping[Lane, QueueName] = dict.fromkeys(_LIVE, QueueName.LIVE)


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Bridge:
    """Everything the bridge does for one account. Made by `open_bridge`; safe to use from several threads."""

    account: str
    profiles: ProfileSync
    events: EventTracker
    inbox: Inbox
    engagement: Engagement
    subscriptions: Subscriptions
    polling: EventPoll
    health: Health
    doctor: Doctor
    telemetry: Telemetry
    webhooks: Router
    profile_ingest: GroupCommit[ProfileChange]
    event_ingest: GroupCommit[Event]
    inbox_ingest: GroupCommit[WebhookEvent]
    delivery: Delivery
    settlement: Settlement
    consent: ConsentKeeper
    consent_settlement: ConsentSettlement
    lists: ListManager
    segments: SegmentQuery
    dead_letters: DeadLetters
    _exporter: Callable[[Settings], MetricsExport]
    _engine: Engine
    _settings: Settings
    _bell: Bell
    history: EventHistory
    _vitals: VitalsStore
    _signs: VitalSigns
    _rows_wait: Callable[[], bool]

    @contextmanager
    def working(self) -> Generator[Heart]:
        """Work in this process until the block ends: plan, deliver, settle, pull, handle webhooks."""
        heart = Heart(self._pulses, note=self._signs.beat)
        self._bell.answer(lambda: heart.wake(PLAN))
        try:
            handlers = self.telemetry.tracing.traced(self._handlers, self._vitals.origins)
            with self._engine.run(handlers, self._queues), heart.beating():
                yield heart
        finally:
            self._bell.answer(None)

    @cached_property
    def _handlers(self) -> Mapping[str, Callable[[Argument], None]]:
        return {
            JobKind.DELIVER: lambda job: self.delivery.deliver(job["batch_id"], job["attempt"]),
            JobKind.HANDLE_WEBHOOK: lambda job: self.inbox.process(job["ids"], handlers_of=self.webhooks.handlers_of),
        }

    @cached_property
    def metrics_export(self) -> MetricsExport:
        """The export to BI. Raises `ConfigError` when the extra `export` is not installed."""
        return self._exporter(self._settings)

    @property
    def _queues(self) -> list[Queue]:
        poll = self._settings.job_poll
        return [Queue(QueueName.LIVE, 8, poll), Queue(QueueName.BULK, 4, poll * 2)]

    @property
    def _pulses(self) -> list[Pulse]:
        settings = self._settings
        return [
            Pulse(PLAN, 0.25, lambda: self.delivery.plan() if self._rows_wait() else 0),
            Pulse("settle", 2.0, _quietly(self.settlement.settle)),
            Pulse("settle-consent", 2.0, _quietly(self.consent_settlement.settle)),
            Pulse("rescue", 5.0, _quietly(lambda: self.settlement.rescue(older_than=STRANDED_AFTER))),
            Pulse("recheck", 2.0, _quietly(self.profiles.recheck)),
            Pulse("sync", min(settings.push_every, settings.pull_every), _quietly(self.profiles.sync)),
            Pulse("inbox", 60.0, self.inbox.tend),
            Pulse("poll", settings.pull_every, _quietly(self.polling.poll)),
        ]


def _quietly(beat: Callable[[], object]) -> Callable[[], int]:
    """A beat that is content with its pace, however much it did."""

    def beat_once() -> int:
        beat()
        return 0

    return beat_once


@contextmanager
def open_bridge(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = now,
    checkpoint: Checkpoint = unwatched,
    spans: object = None,
) -> Generator[Bridge]:
    """Open the database (its schema is brought up to date), the sources and the session; close them at the end.

    Nothing is sent before `Bridge.working` or a `worker` process runs. `spans`, an exporter of the
    OpenTelemetry SDK, gets every span. Raises `ConfigError` when something in the settings does not fit what is found.
    """
    url = settings.database_url.get_secret_value()
    migrate(url)
    with ExitStack() as stack:
        database = stack.enter_context(open_database(url))
        engine = stack.enter_context(open_engine(database, url))
        telemetry = stack.enter_context(open_telemetry(otlp_endpoint=settings.otlp_endpoint, span_exporter=spans))
        session = stack.enter_context(_session(settings, database, telemetry.recorder))
        sources = [
            stack.enter_context(open_source(mapping.url.get_secret_value(), _table_mapping(mapping)))
            for mapping in settings.mappings
        ]
        histories = [
            stack.enter_context(open_event_source(each.url.get_secret_value(), _event_mapping(each)))
            for each in settings.events
        ]
        bridge = _build(settings, database, engine, session, sources, histories, telemetry, clock, checkpoint)
        stack.enter_context(bridge.profile_ingest.running())
        stack.enter_context(bridge.event_ingest.running())
        stack.enter_context(bridge.inbox_ingest.running())
        yield bridge


def _build(
    settings: Settings,
    database: Database,
    engine: Engine,
    session: Session,
    sources: list[Source],
    event_sources: list[EventSource],
    telemetry: Telemetry,
    clock: Callable[[], datetime],
    checkpoint: Checkpoint,
) -> Bridge:
    account = settings.account
    recorder = telemetry.recorder
    klaviyo = KlaviyoAPI(session)
    bell = Bell()
    cursors = CursorStore(database, clock=clock)
    tombstones = Tombstones(_erasure_key(settings, cursors))
    people = ProfileStore(database, clock=clock, tombstones=tombstones)
    outbox = OutboxStore(database, engine, queue_of=_queue_of, notify=bell.ring, clock=clock, tombstones=tombstones)
    ledger = ConsentStore(database, tombstones=tombstones, notify=bell.ring, clock=clock)
    batches = BatchStore(database, engine, queue_of=_queue_of, clock=clock)
    accounts = AccountStore(database, clock=clock)
    accounts.open(account, _fingerprint(settings.klaviyo_private_key.get_secret_value()))
    people = ProfileStore(database, clock=clock, tombstones=tombstones)
    settlement = Settlement(account, batches, accounts, klaviyo, recorder, clock=clock, checkpoint=checkpoint)
    lanes = {**_lanes(klaviyo, settlement, checkpoint), **consent_lanes(klaviyo, ledger, clock=clock)}
    profiles = _profiles(account, database, outbox, people, klaviyo, sources, recorder, clock)
    engagement = Engagement(account, EngagementStore(database, clock=clock))
    inbox = Inbox(
        account,
        InboxStore(database, engine, queue=QueueName.LIVE, clock=clock),
        recorder,
        clock=clock,
        retention=timedelta(days=settings.webhook_retention),
    )
    events = EventTracker(account, outbox, clock=clock)
    cache = open_cache(
        settings.cache_url.get_secret_value() if settings.cache_url else None, account, settings.cache_ttl
    )
    vitals = VitalsStore(database, clock=clock)
    signs = _vital_signs(settings, vitals, SQLGateStore(database))
    telemetry.watch(lambda: readings(signs.read(), signs.pulses))
    health = Health(account, outbox, accounts, signs, clock=clock)
    limit = settings.backlog_limit
    return Bridge(
        account=account,
        profiles=profiles,
        events=events,
        inbox=inbox,
        engagement=engagement,
        subscriptions=Subscriptions(
            klaviyo.webhooks,
            secrets=[secret.get_secret_value() for secret in settings.klaviyo_webhook_signing_secret],
        ),
        polling=EventPoll(account, klaviyo, cursors, inbox.receive, patterns=settings.poll_topics, clock=clock),
        health=health,
        doctor=_doctor(settings, session, database, clock, health),
        telemetry=telemetry,
        webhooks=_router(profiles, engagement),
        profile_ingest=GroupCommit(profiles.take, name="profiles", backlog=health.waiting, limit=limit),
        event_ingest=GroupCommit(events.take, name="events", backlog=health.waiting, limit=limit),
        inbox_ingest=GroupCommit(inbox.receive, name="inbox", backlog=inbox.waiting, limit=limit),
        delivery=Delivery(account, outbox, batches, accounts, lanes, recorder, clock=clock, checkpoint=checkpoint),
        settlement=settlement,
        consent=ConsentKeeper(account, ledger, clock=clock),
        consent_settlement=ConsentSettlement(account, batches, klaviyo, clock=clock),
        lists=ListManager(klaviyo, cache, spared=lambda identities: people.erased(account, identities)),
        segments=SegmentQuery(klaviyo, cache),
        dead_letters=DeadLetters(account, DeadLetterStore(database, notify=bell.ring, clock=clock)),
        _exporter=partial(_metrics_export, klaviyo=klaviyo, cursors=cursors, clock=clock),
        _engine=engine,
        _settings=settings,
        _bell=bell,
        history=EventHistory(account, events, cursors, event_sources),
        _vitals=vitals,
        _signs=signs,
        _rows_wait=lambda: outbox.oldest_waiting(account) is not None,
    )


def _profiles(
    account: str,
    database: Database,
    outbox: OutboxStore,
    ledger: ProfileStore,
    klaviyo: KlaviyoAPI,
    sources: list[Source],
    recorder: Recorder,
    clock: Callable[[], datetime],
) -> ProfileSync:
    cursors, records = CursorStore(database, clock=clock), SyncRecords(database, clock=clock)
    meetings = MeetingStore(database, clock=clock)

    def gone(profile_ids: Sequence[str]) -> set[str]:
        found = klaviyo.profiles.page(filter=any_of("id", list(profile_ids)[:100])).items
        return set(profile_ids) - {profile.id for profile in found}

    merge = ProfileMerge(account, meetings, ledger, outbox, records, sources, recorder, gone=gone, clock=clock)
    pull = ProfilePull(account, cursors, meetings, klaviyo, merge, clock=clock)
    push = SourcePush(account, outbox, cursors, records, sources)
    return ProfileSync(account, outbox, records, pull, push, ProfileVerify(klaviyo, sources))


def _router(profiles: ProfileSync, engagement: Engagement) -> Router:
    router = Router()
    profile_events.register(router, profiles)
    campaign_events.register(router, engagement)
    router.load_installed()
    return router


def _table_mapping(mapping: MappingSettings) -> TableMapping:
    unknown = [name for name in mapping.fields if not is_field(name)]
    if unknown:
        where = f"mappings.{mapping.name}.fields"
        what = "is no field of a Klaviyo profile; your own go under properties.…"
        raise ConfigError(problems=[Problem(f"{where}.{name}", what) for name in unknown])
    return TableMapping(
        name=mapping.name,
        table=mapping.table,
        key=mapping.key,
        cursor=mapping.cursor,
        fields={
            name: FieldRule(
                column=rule.column,
                owner=Owner(rule.owner),
                direction=Direction(rule.direction),
                invalid=Invalid(rule.invalid or ("omit" if name == "phone_number" else "refuse")),
            )
            for name, rule in mapping.fields.items()
        },
        consent={Channel(channel): column for channel, column in mapping.consent.items()},
        query=mapping.query,
        prefix=mapping.prefix,
        country=mapping.country,
        timezone=mapping.timezone,
        overlap=mapping.overlap,
        read_only=mapping.read_only,
        deleted=mapping.deleted,
        deletes=Deletes.IGNORE,
    )


def _event_mapping(mapping: EventSettings) -> EventMapping:
    return EventMapping(**mapping.model_dump(exclude={"url"}))


def _vital_signs(settings: Settings, vitals: VitalsStore, gate: SQLGateStore) -> VitalSigns:
    def allowance() -> Mapping[str, float]:
        lanes, now_ms = gate.read(settings.account)
        return allowance_used(lanes, now=now_ms)

    pulses = {"push": settings.push_every, "pull": settings.pull_every, "settle": 2.0, "rescue": 60.0}
    return VitalSigns(settings.account, vitals, allowance, pulses)


def _doctor(
    settings: Settings, session: Session, database: Database, clock: Callable[[], datetime], health: Health
) -> Doctor:
    return Doctor(
        session.call,
        public_key=settings.klaviyo_public_key,
        secrets=len(settings.klaviyo_webhook_signing_secret),
        api_keys=len(settings.api_keys),
        schema_is_current=lambda: is_current(database),
        parts=health.parts,
        clock=clock,
    )


def _lanes(klaviyo: KlaviyoAPI, settlement: Settlement, checkpoint: Checkpoint) -> dict[Lane, LaneSender]:
    return {
        Lane.UPSERT: Upserts(klaviyo, checkpoint=checkpoint),
        Lane.IMPORT: Imports(klaviyo, settlement.reconcile, checkpoint=checkpoint),
        Lane.EVENT: Events(klaviyo, checkpoint=checkpoint),
        Lane.EVENTS: BulkEvents(klaviyo, checkpoint=checkpoint),
    }


def _session(settings: Settings, database: Database, recorder: Recorder) -> Session:
    account = settings.account
    return Session(
        account,
        settings.klaviyo_private_key.get_secret_value(),
        gate=Gate(account, SQLGateStore(database)),
        breaker=Breaker(account, SQLBreakerStore(database)),
        recorder=recorder,
        host=settings.klaviyo_host,
    )


def _queue_of(lane: Lane) -> str:
    return _QUEUES.get(lane, QueueName.BULK)


def _erasure_key(settings: Settings, cursors: CursorStore) -> bytes:
    """The key of the hashes that recognise erased people: from the settings, or else made once and kept."""
    if settings.erasure_key is not None:
        return settings.erasure_key.get_secret_value().encode()
    if cursors.get(settings.account, ERASURE_KEY) is None:
        cursors.put(settings.account, ERASURE_KEY, secrets.token_hex(32))
    return str(cursors.get(settings.account, ERASURE_KEY)).encode()


def _fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _metrics_export(
    settings: Settings, *, klaviyo: KlaviyoAPI, cursors: CursorStore, clock: Callable[[], datetime]
) -> MetricsExport:
    plan = Plan(
        name=hashlib.sha256(f"{settings.export_url} {settings.export_dataset}".encode()).hexdigest()[:12],
        layout=settings.export_layout,
        since=settings.export_since,
        full_every=timedelta(days=settings.export_full_days),
        figures_every=timedelta(hours=settings.export_figures_hours) if settings.export_figures_hours else None,
    )
    files = _parquet(settings)
    target = _of_export("warehouse").Warehouse(settings.export_url, settings.export_dataset)
    return MetricsExport(settings.account, klaviyo, cursors, target, files, plan, clock=clock)


def _parquet(settings: Settings) -> Files | None:
    if not settings.export_url.startswith("duckdb:///"):
        return None
    database = Path(settings.export_url.removeprefix("duckdb:///"))
    if database.stem == settings.export_dataset:
        what = f"DuckDB confuses the file {database.name} with the schema {settings.export_dataset}: rename one"
        raise ConfigError(problems=[Problem("export_url", what)])
    database.parent.mkdir(parents=True, exist_ok=True)
    if not settings.export_parquet:
        return None
    return _of_export("parquet").ParquetFolder(Path(settings.export_parquet), database, settings.export_dataset)


def _of_export(module: str) -> Any:
    """A module that needs the extra `export`, which is why it is loaded when it is first used."""
    try:
        return import_module(f"klaviyo_bridge.infra.export.{module}")
    except ModuleNotFoundError as error:
        what = f"needs {error.name}, which comes with: pip install 'klaviyo-bridge[export]'"
        raise ConfigError(problems=[Problem("export", what)]) from None
