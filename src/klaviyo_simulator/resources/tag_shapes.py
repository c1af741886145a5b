"""How tags and tag groups look."""

from __future__ import annotations

from klaviyo_simulator.account import Account, Tag
from klaviyo_simulator.documents import LINKS_ONLY, resource
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.routing import Call


def tag_resource(call: Call, tag: Tag) -> JsonObject:
    relations = dict.fromkeys(("lists", "segments", "campaigns", "flows"), LINKS_ONLY)
    return resource(call, "tag", tag.id, {"name": tag.name}, {"tag-group": ("tag-group", tag.group_id)} | relations)


def tags_named(account: Account, tag_ids: list[str]) -> list[Tag]:
    return [account.tags[tag_id] for tag_id in tag_ids if tag_id in account.tags]
