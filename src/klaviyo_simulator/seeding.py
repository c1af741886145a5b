"""A deterministic generator of people, lists, orders and visits: the same numbers, the same account."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

import orjson

from klaviyo_simulator.account import Account, MailingList
from klaviyo_simulator.consent import EMAIL, SUBSCRIBED, ChannelConsent, Consent
from klaviyo_simulator.errors import ControlError, JsonObject
from klaviyo_simulator.events import Event
from klaviyo_simulator.ids import Ids
from klaviyo_simulator.profiles import Profile

FIRST = [
    "Ada",
    "Ben",
    "Chi",
    "Dora",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "Jun",
    "Kira",
    "Leo",
    "Mia",
    "Noor",
    "Otto",
    "Pia",
    "Quin",
    "Rosa",
    "Sven",
    "Tala",
]
LAST = [
    "Adler",
    "Brandt",
    "Costa",
    "Diaz",
    "Evans",
    "Fischer",
    "Garcia",
    "Haas",
    "Ito",
    "Jansen",
    "Keller",
    "Lopez",
    "Meyer",
    "Novak",
    "Okoye",
]
CITIES = (("Berlin", "Germany"), ("Boston", "United States"), ("Lagos", "Nigeria"), ("Lyon", "France"))
PLANS = ("free", "silver", "gold")
DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of what. `opted_in` is the share of people with email consent."""

    profiles: int = 1000
    days: int = 365
    events_per_profile: float = 5.0
    lists: int = 3
    seed: int = 1
    opted_in: float = 0.6

    @staticmethod
    def of(values: JsonObject) -> Plan:
        known = {item.name for item in fields(Plan)}
        if unknown := set(values) - known - {"account"}:
            raise ControlError(f"Seeding knows {', '.join(sorted(known))}, not {', '.join(sorted(unknown))}.")
        return Plan(**{name: value for name, value in values.items() if name in known})


def seed(account: Account, plan: Plan) -> JsonObject:
    """Add to the account; nothing of it is logged, and no flow or webhook hears of it."""
    rng = random.Random(plan.seed)  # noqa: S311 (reproducible chance, not secrecy)
    ids = Ids(rng)
    lists = [_list(account, ids, number) for number in range(plan.lists)]
    people = [_person(account, plan, rng, ids, lists, number) for number in range(plan.profiles)]
    stored = sum(_history(account, plan, rng, ids, profile) for profile in people)
    return {"profiles": len(people), "events": stored, "lists": [item.id for item in lists]}


def _list(account: Account, ids: Ids, number: int) -> MailingList:
    now = account.now()
    item = MailingList(ids.short(), f"Seeded List {number + 1}", now, now, "single_opt_in")
    account.lists[item.id] = item
    return item


def _person(
    account: Account, plan: Plan, rng: random.Random, ids: Ids, lists: list[MailingList], number: int
) -> Profile:
    chance = rng.random
    born = account.now() - chance() * plan.days * DAY
    profile = Profile(ids.ulid(born), born)
    profile.updated = born + chance() * (account.now() - born)
    first, last = FIRST[int(chance() * len(FIRST))], LAST[int(chance() * len(LAST))]
    store = account.profiles
    store.identify_new(profile, "email", f"{first}.{last}.{plan.seed}.{number}@example.com")
    store.identify_new(profile, "external_id", f"seed-{plan.seed}-{number}")
    city, country = CITIES[int(chance() * len(CITIES))]
    profile.write_body(
        {
            "first_name": first,
            "last_name": last,
            "location": {"city": city, "country": country},
            "properties": {"plan": PLANS[int(chance() * 3)], "score": int(chance() * 100)},
        }
    )
    if chance() < plan.opted_in:
        given = ChannelConsent(SUBSCRIBED, born, born, "API", "", None, double_optin=False)
        profile.consent = Consent({EMAIL: given})
        if lists:
            lists[int(chance() * len(lists))].members.join(profile.id, born)
    store.add(profile)
    return profile


def _history(account: Account, plan: Plan, rng: random.Random, ids: Ids, profile: Profile) -> int:
    """Visits, and an order for about one in five."""
    count = int(plan.events_per_profile) + (rng.random() < plan.events_per_profile % 1)
    viewed, ordered = account.metric("Viewed Product"), account.metric("Placed Order")
    now = account.now()
    for number in range(count):
        at = int(profile.created + rng.random() * (now - profile.created))
        sku, price = f"sku-{int(rng.random() * 500)}", round(5 + rng.random() * 195, 2)
        order = rng.random() < 0.2
        event = Event(
            ids.event(),
            profile_id=profile.id,
            metric_id=(ordered if order else viewed).id,
            timestamp=at,
            properties=bytes(memoryview(orjson.dumps({"sku": sku, "price": price}))),
            unique_id=f"{profile.external_id}-{number}",
            value=price if order else None,
            currency="USD" if order else None,
        )
        account.events.add(event)
        profile.last_event = max(profile.last_event or 0, at)
    return count
