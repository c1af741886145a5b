"""The composition: accounts, their listeners, the router.

Everything here is used from one thread, the loop's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from klaviyo_simulator import flows, webhooks
from klaviyo_simulator.account import ALL_SCOPES, Account, Credential, MailingList, Tag
from klaviyo_simulator.delivery import Courier
from klaviyo_simulator.resources.catalogue import OPERATIONS
from klaviyo_simulator.routing import Router
from klaviyo_simulator.switches import Switches
from klaviyo_simulator.world import World

ACCOUNT_ID = "SIM001"
PRIVATE_KEY = "pk_simulator_0000000000000000000000000"
NEWSLETTER_ID = "NEWSLT"
STOCK_METRICS = (
    "Received Email",
    "Opened Email",
    "Clicked Email",
    "Bounced Email",
    "Marked Email as Spam",
    "Subscribed to List",
    "Unsubscribed from List",
    "Subscribed to Email Marketing",
    "Unsubscribed from Email Marketing",
    "Subscribed to SMS Marketing",
    "Unsubscribed from SMS Marketing",
    "Merged Profile",
)


class Simulator:
    """One Klaviyo with any number of accounts. `reset` brings back the state of the start."""

    def __init__(
        self,
        *,
        switches: Switches | None = None,
        seed: int = 1,
        speed: float = 1.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._initial = switches or Switches()
        self._seed, self._speed, self._wall = seed, speed, wall
        self.router = Router(OPERATIONS)
        self.courier = Courier()
        self.world = self._new_world()
        self.accounts: dict[str, Account] = {}
        self.directory: dict[str, tuple[Account, Credential]] = {}
        self._open_default()

    def reset(self) -> None:
        """Forget everything, the log, faults, switches and clock included."""
        url = self.world.public_url
        self.world.scheduler.clear()
        self.world = self._new_world()
        self.world.public_url = url
        self.accounts = {}
        self.directory = {}
        self._open_default()

    def open_account(self, account_id: str, *, name: str, key: str, timezone: str = "UTC") -> Account:
        """A new account with one key of all scopes, Klaviyo's own metrics, a list and two flows."""
        account = Account(self.world, account_id, name=name, timezone=timezone)
        account.obey_switches()
        self.accounts[account_id] = account
        self.add_credential(account, Credential(key, frozenset({ALL_SCOPES})))
        for metric in STOCK_METRICS:
            account.metric(metric, service="klaviyo")
        now = account.now()
        account.tags["default"] = Tag("default", "simulator", "default-group")
        account.lists[NEWSLETTER_ID] = MailingList(NEWSLETTER_ID, "Newsletter", now, now, "single_opt_in")
        flows.welcome_flow(account, NEWSLETTER_ID)
        flows.post_purchase_flow(account)
        flows.watch(account)
        webhooks.watch(account, self.courier.post)
        return account

    def add_credential(self, account: Account, credential: Credential) -> None:
        account.credentials[credential.secret] = credential
        self.directory[credential.secret] = (account, credential)

    def account(self, account_id: str | None = None) -> Account:
        """The named account, or the default one. KeyError when there is none of that name."""
        return self.accounts[account_id or ACCOUNT_ID]

    def run_all_due(self) -> None:
        while self.world.scheduler.run_due():
            pass

    def advance(self, seconds: float) -> None:
        """Step the clock; what falls due on the way is done at its own instant."""
        clock, scheduler = self.world.clock, self.world.scheduler
        target = clock.now() + seconds
        self.run_all_due()
        while (due := scheduler.next_due()) is not None and due <= target:
            clock.set(max(due, clock.now()))
            self.run_all_due()
        clock.set(target)

    def _new_world(self) -> World:
        switches = Switches(**self._initial.as_dict())
        return World(switches=switches, seed=self._seed, wall=self._wall, speed=self._speed)

    def _open_default(self) -> None:
        self.open_account(ACCOUNT_ID, name="Simulated Shop", key=PRIVATE_KEY)
