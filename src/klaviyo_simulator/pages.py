"""Pages for people: profiles with their timeline, lists, messages, requests, windows, faults.

Read only but for buttons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader

from klaviyo_simulator.account import Account
from klaviyo_simulator.consent import EMAIL
from klaviyo_simulator.door import Answer
from klaviyo_simulator.faults import KINDS
from klaviyo_simulator.profiles import Profile
from klaviyo_simulator.resources.shapes import profile_attributes
from klaviyo_simulator.simulator import Simulator
from klaviyo_simulator.times import iso

MENU = (
    ("/", "Overview"),
    ("/profiles", "Profiles"),
    ("/events", "Events"),
    ("/messages", "Messages"),
    ("/requests", "Requests"),
    ("/limits", "Limits"),
    ("/faults", "Faults"),
)
HTML = (b"Content-Type", b"text/html; charset=utf-8")
SHOWN = 100


@dataclass(slots=True)
class Block:
    """A part of a page: a table, or text."""

    heading: str = ""
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    text: str = ""


def link(href: str, text: str) -> dict[str, str]:
    return {"href": href, "text": text}


def button(method: str, action: str, text: str, body: str = "") -> dict[str, str]:
    return {"method": method, "action": action, "text": text, "body": body}


class Pages:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        environment = Environment(loader=PackageLoader("klaviyo_simulator"), autoescape=True)
        self._template = environment.get_template("page.html")
        self._pages: dict[str, tuple[str, Callable[[], list[Block]]]] = {
            "/": ("Overview", self._overview),
            "/profiles": ("Profiles", self._profiles),
            "/events": ("Events", self._events),
            "/messages": ("Messages", self._messages),
            "/requests": ("Requests", self._requests),
            "/limits": ("Limits", self._limits),
            "/faults": ("Faults", self._faults),
        }

    def answer(self, path: str) -> Answer | None:
        """The page at `path`; None when there is none."""
        if path in self._pages:
            title, blocks = self._pages[path]
            return self._render(path, title, blocks())
        kind, _, identity = path.strip("/").partition("/")
        if kind == "profiles":
            profile = self._account.profiles.get(identity)
            return self._render(path, profile.email or profile.id, self._profile(profile)) if profile else None
        if kind == "requests" and identity.isdecimal():
            return self._render(path, f"Request {identity}", self._request(int(identity)))
        return None

    @property
    def _account(self) -> Account:
        return self._simulator.account()

    def _render(self, here: str, title: str, blocks: list[Block]) -> Answer:
        now = iso(self._simulator.world.now())
        page = self._template.render(title=title, here=here, blocks=blocks, menu=MENU, now=now)
        return Answer(200, page.encode(), [HTML])

    def _overview(self) -> list[Block]:
        account = self._account
        lists = [(item.name, item.id, item.opt_in_process, len(item.members)) for item in account.lists.values()]
        counts = [
            (name, len(self._simulator.accounts[name].profiles), len(self._simulator.accounts[name].events))
            for name in self._simulator.accounts
        ]
        tools = [
            ("Apply accepted work", button("POST", "/_simulator/settle", "Settle")),
            ("Forget everything", button("POST", "/_simulator/reset", "Reset")),
            ("1,000 people", button("POST", "/_simulator/seed", "Seed", '{"profiles": 1000}')),
        ]
        return [
            Block("Accounts", ("account", "profiles", "events"), counts),
            Block("Lists", ("name", "id", "opt-in", "members"), lists),
            Block("Tools", ("what", ""), tools),
        ]

    def _profiles(self) -> list[Block]:
        account = self._account
        keys = islice(account.profiles.ordered("updated").walk_back(), SHOWN)
        rows = [self._profile_row(account.profiles.by_id[key[-1]]) for key in keys]
        return [Block("", ("profile", "external id", "email consent", "updated"), rows)]

    def _profile_row(self, profile: Profile) -> tuple[Any, ...]:
        consent = profile.consent.of(EMAIL) if profile.consent else "NEVER_SUBSCRIBED"
        name = link(f"/profiles/{profile.id}", profile.email or profile.id)
        return (name, profile.external_id or "", consent, iso(profile.updated))

    def _profile(self, profile: Profile) -> list[Block]:
        account = self._account
        timeline = [
            (
                iso(event.timestamp),
                account.metrics.by_id[event.metric_id].name,
                _json(event.read_properties()),
            )
            for event in account.timeline(profile)[:SHOWN]
        ]
        lists = [(item.name, iso(item.members.since(profile.id))) for item in account.lists_of(profile)]
        return [
            Block(text=_json(profile_attributes(profile))),
            Block("Lists", ("list", "joined"), lists),
            Block("Timeline", ("time", "metric", "properties"), timeline),
        ]

    def _events(self) -> list[Block]:
        account = self._account
        found = [account.events.by_id[key[-1]] for key in islice(account.events.ordered().walk_back(), SHOWN)]
        rows = [
            (
                iso(event.timestamp),
                account.metrics.by_id[event.metric_id].name,
                link(f"/profiles/{event.profile_id}", event.profile_id),
                _json(event.read_properties()),
            )
            for event in found
        ]
        return [Block("", ("time", "metric", "profile", "properties"), rows)]

    def _messages(self) -> list[Block]:
        rows = [
            (
                iso(item.time),
                item.recipient,
                item.subject,
                "campaign" if item.campaign_id else "flow",
                item.body,
            )
            for item in reversed(self._account.messages[-SHOWN:])
        ]
        return [Block("", ("time", "to", "subject", "sent by", "body"), rows)]

    def _requests(self) -> list[Block]:
        found = self._simulator.world.log.find_requests(newest_first=True, limit=SHOWN)
        rows = [
            (
                link(f"/requests/{item.sequence}", str(item.sequence)),
                f"{item.method} {item.path}",
                item.status or "",
                item.fault or "",
                f"{item.duration * 1000:.1f} ms",
            )
            for item in found
        ]
        return [Block("", ("number", "request", "status", "fault", "took"), rows)]

    def _request(self, number: int) -> list[Block]:
        found = next(self._simulator.world.log.find_requests(since=number - 1, limit=1), None)
        if found is None:
            return [Block(text="It is not in the log any more.")]
        shown = found.document()
        body, answer = shown.pop("body"), shown.pop("answer")
        return [Block(text=_json(shown)), Block("Body", text=body), Block("Answer", text=answer)]

    def _limits(self) -> list[Block]:
        rows = [
            (
                window["quota"],
                window["operation"],
                f"{window['seconds']} s",
                {"count": window["count"], "most": window["limit"]},
            )
            for window in self._simulator.world.limiter.snapshot()
        ]
        return [Block("", ("quota", "operation", "window", "used"), rows)]

    def _faults(self) -> list[Block]:
        rules = [
            (
                rule.kind,
                rule.operation,
                _json(rule.params),
                rule.fired,
                button("DELETE", f"/_simulator/faults/{rule.id}", "Remove"),
            )
            for rule in self._simulator.world.faults.rules
        ]
        kinds = [
            (kind, text, button("POST", "/_simulator/faults", "Once", _json({"kind": kind, "count": 1})))
            for kind, text in KINDS.items()
        ]
        return [
            Block("In force", ("kind", "operation", "params", "fired", ""), rules),
            Block("Kinds", ("kind", "what it does", ""), kinds),
        ]


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
