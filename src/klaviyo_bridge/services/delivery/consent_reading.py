"""What Klaviyo says about the people of a batch, read just before anything is sent about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from klaviyo_bridge.domain.profile import IDENTIFIERS, Identity
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.filters import any_of
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.types import RemoteProfile

PER_READ = 100
_NAMES = ("klaviyo_id", *IDENTIFIERS)


def read_profiles(
    klaviyo: KlaviyoAPI, identities: Mapping[int, Identity], *, subscriptions: bool = True
) -> dict[int, list[RemoteProfile]]:
    """By the caller's key, every profile at Klaviyo that one of the identifiers names; strangers have none."""
    found: dict[int, list[RemoteProfile]] = {key: [] for key in identities}
    for name in _NAMES:
        wanted = {key: value for key, identity in identities.items() if (value := getattr(identity, name))}
        profiles = {_value(profile, name): profile for profile in _read(klaviyo, name, wanted, subscriptions)}
        for key, value in wanted.items():
            profile = profiles.get(value.lower())
            if profile is not None and all(profile.id != other.id for other in found[key]):
                found[key].append(profile)
    return found


def members_of(klaviyo: KlaviyoAPI, list_id: str, profile_ids: Mapping[str, RemoteProfile]) -> set[str]:
    """Which of these profiles are on the list now, by id."""
    found: set[str] = set()
    for name in ("email", "phone_number"):
        values = [str(p.attributes[name]) for p in profile_ids.values() if p.attributes.get(name)]
        for start in range(0, len(values), PER_READ):
            wanted = any_of(name, values[start : start + PER_READ])
            page = klaviyo.lists.members(list_id, filter=wanted, size=PER_READ, priority=Priority.CONSENT)
            found.update(profile.id for profile in page.items)
    return found & set(profile_ids)


def _read(
    klaviyo: KlaviyoAPI,
    name: str,
    wanted: Mapping[int, str],
    subscriptions: bool,  # noqa: FBT001  # passed on
) -> Iterator[RemoteProfile]:
    values = sorted(set(wanted.values()))
    for start in range(0, len(values), PER_READ):
        chosen: Sequence[str] = values[start : start + PER_READ]
        field = "id" if name == "klaviyo_id" else name
        yield from klaviyo.profiles.page(
            filter=any_of(field, chosen), size=PER_READ, subscriptions=subscriptions, priority=Priority.CONSENT
        ).items


def _value(profile: RemoteProfile, name: str) -> str:
    return profile.id.lower() if name == "klaviyo_id" else str(profile.attributes.get(name) or "").lower()
