"""Names a sparse fieldset may ask for, by resource type."""

from __future__ import annotations

from klaviyo_simulator.profiles import LOCATION_FIELDS
from klaviyo_simulator.query import Names, names

_RECORD = "consent consent_timestamp last_updated created_timestamp metadata can_receive valid_until"
_PLAIN = "consent consent_timestamp method method_detail last_updated"
_CHANNEL_PATHS = {
    "email.marketing": "can_receive_email_marketing consent consent_timestamp last_updated method "
    "method_detail custom_method_detail double_optin suppression list_suppressions",
    "email.open_tracking": _RECORD,
    "email.click_tracking": _RECORD,
    "sms.marketing": f"can_receive_sms_marketing {_PLAIN}",
    "sms.transactional": f"can_receive_sms_transactional {_PLAIN}",
    "mobile_push.marketing": "can_receive_push_marketing consent consent_timestamp",
    "whatsapp.marketing": f"{_RECORD} phone_number",
    "whatsapp.transactional": f"{_RECORD} phone_number",
    "whatsapp.conversational": f"{_RECORD} phone_number",
}
PREDICTIONS = (
    "historic_clv",
    "predicted_clv",
    "total_clv",
    "historic_number_of_orders",
    "predicted_number_of_orders",
    "average_days_between_orders",
    "average_order_value",
    "churn_probability",
    "expected_date_of_next_order",
    "ranked_channel_affinity",
)


def _subscription_paths() -> Names:
    paths = {"subscriptions"}
    for path, leaves in _CHANNEL_PATHS.items():
        paths.add(f"subscriptions.{path.split('.')[0]}")
        paths.add(f"subscriptions.{path}")
        paths.update(f"subscriptions.{path}.{leaf}" for leaf in leaves.split())
    return frozenset(paths)


PROFILE_PLAIN = names(
    "created email external_id first_name id image last_event_date last_name locale location organization "
    "phone_number properties title updated anonymous_id"
) | {f"location.{name}" for name in LOCATION_FIELDS}
PROFILE = (
    PROFILE_PLAIN
    | _subscription_paths()
    | {"predictive_analytics"}
    | {f"predictive_analytics.{name}" for name in PREDICTIONS}
)
MEMBER = PROFILE | {"joined_group_at"}
LIST = names("created id name opt_in_process updated")
LIST_WITH_COUNT = LIST | {"profile_count"}
SEGMENT = names("created definition definition.condition_groups id is_active is_processing is_starred name updated")
SEGMENT_WITH_COUNT = SEGMENT | {"profile_count"}
METRIC = names("created id integration name updated")
METRIC_PROPERTY = names("id inferred_type label property sample_values")
EVENT = names("datetime event_properties id timestamp uuid")
ATTRIBUTION = names("id")
FLOW = names("archived created id name status trigger_type updated")
TAG = names("id name")
TAG_GROUP = names("default exclusive id name")
IMPORT_JOB = names("completed_at completed_count created_at expires_at failed_count id started_at status total_count")
SUPPRESSION_JOB = names("completed_at completed_count created_at id skipped_count status total_count")
IMPORT_ERROR = names("code detail id original_payload source source.pointer title")
WEBHOOK = names("created_at description enabled endpoint_url id name updated_at")
WEBHOOK_TOPIC = names("id")
PUSH_TOKEN = names(
    "background created enablement_status id metadata metadata.app_build metadata.app_id "
    "metadata.app_name metadata.app_version metadata.device_id metadata.device_model metadata.environment "
    "metadata.klaviyo_sdk metadata.manufacturer metadata.os_name metadata.os_version "
    "metadata.sdk_version platform recorded_date token vendor"
)
ADDITIONAL_PROFILE = {"profile": names("subscriptions predictive_analytics")}
ACCOUNT = names(
    "contact_information contact_information.default_sender_email contact_information.default_sender_name "
    "contact_information.organization_name contact_information.street_address "
    "contact_information.street_address.address1 contact_information.street_address.address2 "
    "contact_information.street_address.city contact_information.street_address.country "
    "contact_information.street_address.region contact_information.street_address.zip "
    "contact_information.website_url id industry locale preferred_currency public_api_key "
    "test_account timezone"
)
