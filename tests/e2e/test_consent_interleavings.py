"""Interleavings of subscribe, unsubscribe, suppress, erase, sync and restore; Klaviyo's effect log is the judge."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from builders import a_bridge
from klaviyo_bridge.domain.outbox import BatchState
from klaviyo_bridge.infra.tables import batches
from klaviyo_simulator.testing import RunningSimulator, running_simulator

PEOPLE = st.integers(0, 2)
DECISIONS = "subscribed,unsubscribed,suppressed,deleted"


class Consents(RuleBasedStateMachine):
    """`no` holds whose last word was a refusal; an undated subscribe is nobody's word."""

    klaviyo: RunningSimulator
    runs = 0

    @initialize()
    def open(self) -> None:
        Consents.runs += 1
        self.klaviyo.control.reset()
        self.klaviyo.control.switch(kdp=True, limits=False, account_double_opt_in=False)
        self.folder = Path(tempfile.mkdtemp())
        self.no: set[str] = set()
        self.asked_globally: set[str] = set()
        self.dated_second = 0
        self._open()
        self.list_id = self.bridge.lists.create("VIP", opt_in="single").id

    def _open(self) -> None:
        self.stack = ExitStack()
        url = f"sqlite:///{self.folder}/bridge.db"
        self.bridge = self.stack.enter_context(a_bridge(self.klaviyo, database_url=url))

    @rule(who=PEOPLE, dated=st.booleans(), on_list=st.booleans())
    def subscribe(self, who: int, *, dated: bool, on_list: bool) -> None:
        request = {"email": email(who), "list_id": self.list_id if on_list else None}
        if dated:
            request["consented_at"] = datetime.now(UTC).isoformat()
            self.dated_second = int(time.time())
        asked = self.bridge.consent.subscribe(request)
        if dated and asked.queued:
            self.no.discard(email(who))

    @rule(who=PEOPLE)
    def unsubscribe(self, who: int) -> None:
        self.bridge.consent.unsubscribe({"email": email(who)})
        self.asked_globally.add(email(who))
        self.no.add(email(who))

    @rule(who=PEOPLE)
    def unsubscribe_from_the_list(self, who: int) -> None:
        self.bridge.consent.unsubscribe({"email": email(who), "list_id": self.list_id})

    @rule(who=PEOPLE)
    def suppress(self, who: int) -> None:
        self.bridge.consent.suppress({"email": email(who)})
        self.no.add(email(who))

    @rule(who=PEOPLE)
    def erase(self, who: int) -> None:
        self.bridge.consent.erase({"email": email(who)})
        self.no.add(email(who))

    @rule(who=PEOPLE)
    def sync(self, who: int) -> None:
        self.bridge.profiles.push({"email": email(who), "first_name": "Ann"})
        self.bridge.profiles.pull()

    @rule(who=PEOPLE)
    def unsubscribe_at_klaviyo(self, who: int) -> None:
        """Klaviyo tells whole seconds: an agreement of the same second could not be told apart."""
        if self._drained() and self._known(who):
            while int(time.time()) == self.dated_second:
                time.sleep(0.05)
            self.klaviyo.control.act("unsubscribe", email=email(who))
            self.asked_globally.add(email(who))
            self.no.add(email(who))

    @rule()
    def restore_the_state_of_before(self) -> None:
        """Requests that went out are in the restored database as if they had not."""
        self.stack.close()
        shutil.copy(self.folder / "bridge.db", self.folder / "backup.db")
        self._open()
        erased = len(self.klaviyo.control.effects(kind="deletion.requested"))
        self._drained()
        if len(self.klaviyo.control.effects(kind="deletion.requested")) == erased:
            self.stack.close()
            shutil.copy(self.folder / "backup.db", self.folder / "bridge.db")
            for side in ("-wal", "-shm"):
                (self.folder / f"bridge.db{side}").unlink(missing_ok=True)
            self._open()

    @rule()
    def deliver(self) -> None:
        self._drained()

    @invariant()
    def nobody_was_unsubscribed_wider_than_asked(self) -> None:
        for effect in self.klaviyo.control.effects(kind="unsubscribed", limit=10_000):
            if effect["values"]["global"]:
                assert self._email_of(effect) in self.asked_globally

    def _drained(self) -> bool:
        """Everything is delivered and applied; then who said no last must not be subscribed."""
        for _ in range(60):
            self.bridge.delivery.plan()
            with self.bridge.health._backlog._database.read() as connection:
                sealed = [
                    *connection.execute(sa.select(batches.c.id, batches.c.attempt, batches.c.state)).fetchall(),
                ]
            for batch_id, attempt, state in sealed:
                if state == BatchState.SEALED:
                    self.bridge.delivery.deliver(batch_id, attempt)
            self.klaviyo.control.settle()
            self.bridge.consent_settlement.settle()
            self.bridge.settlement.settle()
            if not any(
                count for state, count in self.bridge.health._backlog.backlog("default").items() if state != "dead"
            ):
                break
        else:
            raise AssertionError("it does not come to rest")
        self.klaviyo.control.settle()
        self._judge()
        return True

    def _judge(self) -> None:
        last: dict[str, str] = {}
        for effect in self.klaviyo.control.effects(kind=DECISIONS, limit=10_000):
            last[self._email_of(effect)] = effect["kind"]
        assert not {who for who in self.no if last.get(who) == "subscribed"}

    def _email_of(self, effect: dict[str, str]) -> str:
        created = self.klaviyo.control.effects(kind="profile.created", limit=10_000)
        return next(c["values"].get("email", "?") for c in created if c["profile"] == effect["profile"])

    def _known(self, who: int) -> bool:
        return any(
            effect["values"].get("email") == email(who)
            and not self.klaviyo.control.effects(kind="deleted", profile=effect["profile"])
            for effect in self.klaviyo.control.effects(kind="profile.created", limit=10_000)
        )

    def teardown(self) -> None:
        if hasattr(self, "bridge"):
            try:
                self._drained()
            finally:
                self.stack.close()
                shutil.rmtree(self.folder, ignore_errors=True)


def email(who: int) -> str:
    return f"person{who}@example.com"


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(kdp=True) as klaviyo:
        yield klaviyo


def test_nobody_is_subscribed_against_their_last_word(simulator: RunningSimulator) -> None:
    Consents.klaviyo = simulator
    Consents.runs = 0

    run_state_machine_as_test(
        Consents,
        settings=settings(
            max_examples=5,
            stateful_step_count=12,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

    assert Consents.runs >= 5
