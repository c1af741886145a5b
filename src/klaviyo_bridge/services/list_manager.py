"""Lists: made, found by name, filled and emptied. Being on a list is not consent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from klaviyo_bridge.domain.profile import Identity, profile_change
from klaviyo_bridge.errors import InvalidPayload, NotFound, Problem
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.types import RemoteList, RemoteProfile
from klaviyo_bridge.services.delivery.consent_reading import read_profiles
from klaviyo_bridge.services.profile_sync import checked

LISTS = "lists"
AT_ONCE = 1_000
"""People looked up and moved together; one call carries as many."""
T = TypeVar("T")


class Cache(Protocol):
    """Remembers for a while. `infra.cache.Cache` is one."""

    def get(self, name: str, make: Callable[[], T]) -> T: ...
    def forget(self, *names: str) -> None: ...


@dataclass(frozen=True, slots=True)
class ListInfo:
    """A list. `double_opt_in`: who subscribes to it has to confirm first. `members` where it was asked for."""

    id: str
    name: str
    double_opt_in: bool
    members: int | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """`changed` were told to Klaviyo; `unknown` are the indexes of people who have no profile there."""

    changed: int
    unknown: Sequence[int] = field(default=())


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a mirror did or, as a preview, would do. `unknown` people have no profile at Klaviyo yet."""

    added: int
    removed: int
    kept: int
    unknown: int


class ListManager:
    """Lists of one account."""

    def __init__(self, klaviyo: KlaviyoAPI, cache: Cache, *, spared: Callable[[Sequence[Identity]], set[int]]) -> None:
        self._klaviyo = klaviyo
        self._cache = cache
        self._spared = spared

    def all(self) -> list[ListInfo]:
        """Every list, by name; remembered for a while."""
        stored = self._cache.get(LISTS, lambda: [_stored(each) for each in self._klaviyo.lists.all()])
        return sorted((ListInfo(**each) for each in stored), key=lambda each: (each.name, each.id))

    def find(self, name: str) -> ListInfo:
        """The list with this name. Raises `NotFound`; `InvalidPayload` when several have it."""
        return one_named(name, self.all(), what="list")

    def get(self, list_id: str, *, count: bool = False) -> ListInfo:
        """The list as it is now; counting members is limited to 15 a minute. Raises `NotFound`."""
        return ListInfo(**_stored(self._klaviyo.lists.get(list_id, count=count)))

    def create(self, name: str, *, opt_in: Literal["single", "double"] | None = None) -> ListInfo:
        """A new list; without `opt_in` the account's default holds. Raises `InvalidPayload` when the name is taken."""
        _check_name(name)
        self._cache.forget(LISTS)
        if any(known.name == name for known in self.all()):
            raise InvalidPayload(problems=[Problem("name", f"is taken: there is a list {name!r} already")])
        process = f"{opt_in}_opt_in" if opt_in else None
        made = self._klaviyo.lists.create(name, opt_in_process=process)
        self._cache.forget(LISTS)
        return ListInfo(**_stored(made))

    def rename(self, list_id: str, name: str) -> ListInfo:
        """The list under its new name. Raises `NotFound`."""
        _check_name(name)
        renamed = self._klaviyo.lists.rename(list_id, name)
        self._cache.forget(LISTS)
        return ListInfo(**_stored(renamed))

    def delete(self, list_id: str) -> None:
        """Delete the list; its members stay profiles, with their consent. Raises `NotFound`."""
        self._klaviyo.lists.delete(list_id)
        self._cache.forget(LISTS)

    def add(self, list_id: str, people: Sequence[Mapping[str, object]]) -> Changed:
        """Put people, named by any identifier, on the list, a thousand a call. Their consent stays as it is.

        Klaviyo shows the membership a little later. Safe to repeat. Whoever was erased counts as unknown.
        """
        return self._change(list_id, people, self._klaviyo.lists.add)

    def remove(self, list_id: str, people: Sequence[Mapping[str, object]]) -> Changed:
        """As `add`, off the list."""
        return self._change(list_id, people, self._klaviyo.lists.remove)

    def members(self, list_id: str) -> Iterator[RemoteProfile]:
        """Every member, page by page; nothing is held but the page."""
        cursor: str | None = None
        while True:
            page = self._klaviyo.lists.members(list_id, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def mirror(
        self, list_id: str, people: Sequence[Mapping[str, object]], *, max_removals: int, preview: bool = False
    ) -> Mirrored:
        """Make the list hold exactly these people.

        Raises `InvalidPayload`, with nothing changed, when more than `max_removals` members would have to go: a
        query that broke must not empty a list. With `preview` nothing is changed at all.
        """
        wanted, unknown = self._ids(people)
        now = {member.id for member in self.members(list_id)}
        joining, leaving = sorted(wanted - now), sorted(now - wanted)
        if len(leaving) > max_removals and not preview:
            what = f"would remove {len(leaving)} members, and at most {max_removals} are allowed; nothing was changed"
            raise InvalidPayload(problems=[Problem("max_removals", what)])
        if not preview:
            self._klaviyo.lists.add(list_id, joining)
            self._klaviyo.lists.remove(list_id, leaving)
        return Mirrored(len(joining), len(leaving), len(now & wanted), len(unknown))

    def _change(
        self, list_id: str, people: Sequence[Mapping[str, object]], change: Callable[[str, Sequence[str]], None]
    ) -> Changed:
        ids, unknown = self._ids(people)
        if ids:
            change(list_id, sorted(ids))
        return Changed(len(ids), unknown)

    def _ids(self, people: Sequence[Mapping[str, object]]) -> tuple[set[str], list[int]]:
        """Klaviyo's ids of these people, and the indexes of those who have none."""
        identities = [change.identity for change in checked(people, profile_change, where="people")]
        erased = self._spared(identities)
        ids: set[str] = set()
        unknown: list[int] = []
        for start in range(0, len(identities), AT_ONCE):
            asked = {i: identities[i] for i in range(start, min(start + AT_ONCE, len(identities))) if i not in erased}
            found = read_profiles(self._klaviyo, asked, subscriptions=False)
            unknown += [index for index in asked if not found[index]]
            ids.update(profile.id for profiles in found.values() for profile in profiles[:1])
        return ids, sorted({*unknown, *erased})


class Named(Protocol):
    """Anything with a name and an id."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def one_named(name: str, known: Sequence[N], *, what: str) -> N:
    """The one with this name. Raises `NotFound`; `InvalidPayload` when several have it, with their ids."""
    found = [each for each in known if each.name == name]
    if not found:
        raise NotFound(f"there is no {what} named {name!r}")
    if len(found) > 1:
        ids = ", ".join(each.id for each in found)
        raise InvalidPayload(problems=[Problem("name", f"names several: {ids}; give the id instead")])
    return found[0]


def _check_name(name: str) -> None:
    if not 1 <= len(name.strip()) <= 255:
        raise InvalidPayload(problems=[Problem("name", "must be text of 1 to 255 characters")])


def _stored(each: RemoteList) -> dict[str, Any]:
    double = each.opt_in_process == "double_opt_in"
    return {"id": each.id, "name": each.name, "double_opt_in": double, "members": each.profile_count}
