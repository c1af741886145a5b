"""How campaigns and their messages look, and their schemas."""

from __future__ import annotations

from klaviyo_simulator.account import Account
from klaviyo_simulator.bodies import (
    FLAG,
    FLAG_OR_NULL,
    FREE,
    FREE_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Schema,
    array,
    choice,
    data,
    fields,
    members,
    resource,
)
from klaviyo_simulator.campaigning import Campaign, CampaignMessage, campaigns_of, find_message
from klaviyo_simulator.documents import LINKS_ONLY, Linkage
from klaviyo_simulator.documents import resource as document
from klaviyo_simulator.errors import JsonObject, not_found
from klaviyo_simulator.query import names
from klaviyo_simulator.routing import Call
from klaviyo_simulator.times import iso, iso_or_none

CAMPAIGN_FIELDS = names(
    "archived audiences audiences.excluded audiences.included created_at id name scheduled_at send_options "
    "send_options.use_smart_sending send_strategy send_strategy.date send_strategy.datetime "
    "send_strategy.method send_strategy.options send_strategy.options.is_local "
    "send_strategy.options.send_past_recipients_immediately send_strategy.throttle_percentage send_time "
    "status tracking_options tracking_options.add_tracking_params tracking_options.custom_tracking_params "
    "tracking_options.is_tracking_clicks tracking_options.is_tracking_opens updated_at"
)
_CONTENT = "bcc_email body cc_email from_email from_label media_url preview_text reply_to_email subject"
MESSAGE_FIELDS = (
    names("created_at definition definition.channel definition.content definition.label id send_times updated_at")
    | {f"definition.content.{name}" for name in _CONTENT.split()}
    | names("definition.render_options definition.kv_pairs definition.notification_type definition.options")
)
FLAT_FIELDS = names("channel content created_at id label render_options send_times updated_at") | {
    f"content.{name}" for name in _CONTENT.split()
}


def campaign_resource(call: Call, item: Campaign) -> JsonObject:
    attributes: JsonObject = {
        "name": item.name,
        "status": item.status,
        "archived": item.archived,
        "audiences": item.audiences,
        "send_options": item.send_options,
        "tracking_options": item.tracking_options,
        "send_strategy": item.send_strategy,
        "created_at": iso(item.created),
        "scheduled_at": iso_or_none(item.scheduled_at),
        "updated_at": iso(item.updated),
        "send_time": iso_or_none(item.send_time),
    }
    tags: Linkage = [("tag", tag_id) for tag_id in item.tag_ids]
    relations: dict[str, Linkage] = {
        "campaign-messages": [("campaign-message", message.id) for message in item.messages],
        "tags": tags if "tags" in call.query.include else LINKS_ONLY,
    }
    return document(call, "campaign", item.id, attributes, relations)


def message_resource(call: Call, item: CampaignMessage, *, flat: bool = False) -> JsonObject:
    """`flat` is the shape that assigning a template answers with."""
    campaign = campaigns_of(call.account)[item.campaign_id]
    times = [{"datetime": iso(campaign.send_time), "is_local": False}] if campaign.send_time else []
    if flat:
        attributes: JsonObject = {
            "label": item.definition.get("label") or campaign.name,
            "channel": item.channel,
            "content": item.definition.get("content") or {},
        }
        if "render_options" in item.definition:
            attributes["render_options"] = item.definition["render_options"]
    else:
        attributes = {"definition": item.definition}
    attributes |= {"send_times": times, "created_at": iso(item.created), "updated_at": iso(item.updated)}
    relations: dict[str, Linkage] = {
        "campaign": ("campaign", campaign.id),
        "template": ("template", item.template_id) if item.template_id else LINKS_ONLY,
    }
    if not flat:
        relations["image"] = LINKS_ONLY
    return document(call, "campaign-message", item.id, attributes, relations)


def the_campaign(account: Account, campaign_id: str) -> Campaign:
    found = campaigns_of(account).get(campaign_id)
    if found is None:
        raise not_found(f"Campaign with id {campaign_id} not found.")
    return found


def the_message(account: Account, message_id: str) -> CampaignMessage:
    found = find_message(account, message_id)
    if found is None:
        raise not_found(f"Campaign message with id {message_id} not found.")
    return found


_OPTIONS = fields({"is_local": FLAG}, send_past_recipients_immediately=FLAG)
_THROTTLES = (1, 2, 5, 10, 11, 13, 14, 17, 20, 25, 33, 50)
SEND_STRATEGY: Schema = {
    "type": "object",
    "properties": {
        "method": choice("static", "throttled", "immediate", "smart_send_time"),
        "datetime": TEXT,
        "date": TEXT,
        "options": _OPTIONS,
        "throttle_percentage": {"enum": list(_THROTTLES)},
    },
    "required": ["method"],
    "additionalProperties": False,
    "allOf": [
        {"if": {"properties": {"method": {"const": method}}}, "then": {"required": needed}}
        for method, needed in {
            "static": ["datetime"],
            "throttled": ["datetime", "throttle_percentage"],
            "smart_send_time": ["date"],
        }.items()
    ],
}
AUDIENCES = fields({"included": array(TEXT, least=1)}, excluded=array(TEXT))
_TRACKING_PARAM = fields({"type": choice("dynamic", "static"), "value": TEXT, "name": TEXT})
TRACKING = fields(
    add_tracking_params=FLAG_OR_NULL,
    custom_tracking_params={"type": ["array", "null"], "items": _TRACKING_PARAM},
    is_tracking_clicks=FLAG_OR_NULL,
    is_tracking_opens=FLAG_OR_NULL,
)
SEND_OPTIONS = fields(use_smart_sending=FLAG_OR_NULL)
_EMAIL: dict[str, Schema] = dict.fromkeys(
    ("subject", "preview_text", "from_email", "from_label", "reply_to_email", "cc_email", "bcc_email"),
    TEXT_OR_NULL,
)
_RENDER = fields(
    shorten_links=FLAG_OR_NULL,
    add_org_prefix=FLAG_OR_NULL,
    add_info_link=FLAG_OR_NULL,
    add_opt_out_language=FLAG_OR_NULL,
)
DEFINITION: Schema = {
    "type": "object",
    "required": ["channel"],
    "properties": {"channel": choice("email", "sms", "mobile_push")},
    "allOf": [
        {"if": {"properties": {"channel": {"const": channel}}}, "then": schema}
        for channel, schema in {
            "email": members({"channel": TEXT}, {"label": TEXT_OR_NULL, "content": members({}, _EMAIL)}),
            "sms": members(
                {"channel": TEXT},
                {"content": fields(body=TEXT_OR_NULL, media_url=TEXT_OR_NULL), "render_options": _RENDER},
            ),
            "mobile_push": members(
                {"channel": TEXT},
                {
                    "content": FREE,
                    "kv_pairs": FREE_OR_NULL,
                    "options": FREE,
                    "notification_type": choice("standard", "silent"),
                },
            ),
        }.items()
    ],
}
MESSAGES = data(
    array(
        resource(
            "campaign-message",
            attributes=fields({"definition": DEFINITION}),
            optional_relationships=FREE,
        ),
        least=1,
    )
)
