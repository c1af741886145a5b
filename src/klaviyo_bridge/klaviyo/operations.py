"""Every operation the bridge may call: method, path and limit, as Klaviyo publishes them. A fact table only.

Source: `x-klaviyo-ratelimit` of Klaviyo's OpenAPI file, revision 2026-07-15, all operations of the tags
named below. Columns: operation, method, path, tier, and calls a day where Klaviyo counts those too. The
tier L is 750 a minute on the wire (`RateLimit-Limit: 75, 75;w=1, 750;w=60`); one page of the
documentation prints 700.
"""

from __future__ import annotations

TIERS: dict[str, tuple[int, int]] = {
    "REPORT": (1, 2),
    "XS": (1, 15),
    "S": (3, 60),
    "M": (10, 150),
    "L": (75, 750),
    "XL": (350, 3500),
}
"""Calls in one second, and in sixty."""

OPERATIONS = """
# Profiles
get_profiles GET /api/profiles L
create_profile POST /api/profiles L
get_profile GET /api/profiles/{id} L
update_profile PATCH /api/profiles/{id} L
get_bulk_import_profiles_jobs GET /api/profile-bulk-import-jobs M
bulk_import_profiles POST /api/profile-bulk-import-jobs M
get_bulk_import_profiles_job GET /api/profile-bulk-import-jobs/{job_id} M
get_bulk_suppress_profiles_jobs GET /api/profile-suppression-bulk-create-jobs L
bulk_suppress_profiles POST /api/profile-suppression-bulk-create-jobs L
get_bulk_suppress_profiles_job GET /api/profile-suppression-bulk-create-jobs/{job_id} L
get_bulk_unsuppress_profiles_jobs GET /api/profile-suppression-bulk-delete-jobs L
bulk_unsuppress_profiles POST /api/profile-suppression-bulk-delete-jobs L
get_bulk_unsuppress_profiles_job GET /api/profile-suppression-bulk-delete-jobs/{job_id} L
get_push_tokens GET /api/push-tokens M
create_push_token POST /api/push-tokens L
get_push_token GET /api/push-tokens/{id} M
delete_push_token DELETE /api/push-tokens/{id} S
create_or_update_profile POST /api/profile-import L
merge_profiles POST /api/profile-merge M
bulk_subscribe_profiles POST /api/profile-subscription-bulk-create-jobs L
bulk_unsubscribe_profiles POST /api/profile-subscription-bulk-delete-jobs L
get_push_tokens_for_profile GET /api/profiles/{id}/push-tokens M
get_push_token_ids_for_profile GET /api/profiles/{id}/relationships/push-tokens M
get_lists_for_profile GET /api/profiles/{id}/lists S
get_list_ids_for_profile GET /api/profiles/{id}/relationships/lists S
get_segments_for_profile GET /api/profiles/{id}/segments S
get_segment_ids_for_profile GET /api/profiles/{id}/relationships/segments S
get_conversation_for_profile GET /api/profiles/{id}/conversation S
get_conversation_id_for_profile GET /api/profiles/{id}/relationships/conversation S
get_conversations_for_profile GET /api/profiles/{id}/conversations S
get_conversation_ids_for_profile GET /api/profiles/{id}/relationships/conversations S
get_list_for_bulk_import_profiles_job GET /api/profile-bulk-import-jobs/{id}/lists M
get_list_ids_for_bulk_import_profiles_job GET /api/profile-bulk-import-jobs/{id}/relationships/lists M
get_profiles_for_bulk_import_profiles_job GET /api/profile-bulk-import-jobs/{id}/profiles M
get_profile_ids_for_bulk_import_profiles_job GET /api/profile-bulk-import-jobs/{id}/relationships/profiles M
get_errors_for_bulk_import_profiles_job GET /api/profile-bulk-import-jobs/{id}/import-errors M
get_profile_for_push_token GET /api/push-tokens/{id}/profile M
get_profile_id_for_push_token GET /api/push-tokens/{id}/relationships/profile M
# Events
get_events GET /api/events XL
create_event POST /api/events XL
get_event GET /api/events/{id} M
bulk_create_events POST /api/event-bulk-create-jobs M
get_metric_for_event GET /api/events/{id}/metric XL
get_metric_id_for_event GET /api/events/{id}/relationships/metric XL
get_profile_for_event GET /api/events/{id}/profile XL
get_profile_id_for_event GET /api/events/{id}/relationships/profile XL
# Lists
get_lists GET /api/lists L
create_list POST /api/lists M 150
get_list GET /api/lists/{id} L
update_list PATCH /api/lists/{id} M
delete_list DELETE /api/lists/{id} M
get_tags_for_list GET /api/lists/{id}/tags S
get_tag_ids_for_list GET /api/lists/{id}/relationships/tags S
get_profiles_for_list GET /api/lists/{id}/profiles L
get_profile_ids_for_list GET /api/lists/{id}/relationships/profiles L
add_profiles_to_list POST /api/lists/{id}/relationships/profiles M
remove_profiles_from_list DELETE /api/lists/{id}/relationships/profiles M
get_flows_triggered_by_list GET /api/lists/{id}/flow-triggers S
get_ids_for_flows_triggered_by_list GET /api/lists/{id}/relationships/flow-triggers S
# Segments
get_segments GET /api/segments L
create_segment POST /api/segments XS 100
get_segment GET /api/segments/{id} L
update_segment PATCH /api/segments/{id} XS 100
delete_segment DELETE /api/segments/{id} S
get_tags_for_segment GET /api/segments/{id}/tags S
get_tag_ids_for_segment GET /api/segments/{id}/relationships/tags S
get_profiles_for_segment GET /api/segments/{id}/profiles L
get_profile_ids_for_segment GET /api/segments/{id}/relationships/profiles L
get_flows_triggered_by_segment GET /api/segments/{id}/flow-triggers S
get_ids_for_flows_triggered_by_segment GET /api/segments/{id}/relationships/flow-triggers S
# Metrics
get_metrics GET /api/metrics M
get_metric GET /api/metrics/{id} M
get_metric_property GET /api/metric-properties/{id} XS
get_custom_metrics GET /api/custom-metrics S
create_custom_metric POST /api/custom-metrics XS 15
get_custom_metric GET /api/custom-metrics/{id} S
update_custom_metric PATCH /api/custom-metrics/{id} XS 15
delete_custom_metric DELETE /api/custom-metrics/{id} S
get_mapped_metrics GET /api/mapped-metrics S
get_mapped_metric GET /api/mapped-metrics/{id} S
update_mapped_metric PATCH /api/mapped-metrics/{id} XS 30
query_metric_aggregates POST /api/metric-aggregates S
get_flows_triggered_by_metric GET /api/metrics/{id}/flow-triggers M
get_ids_for_flows_triggered_by_metric GET /api/metrics/{id}/relationships/flow-triggers M
get_properties_for_metric GET /api/metrics/{id}/metric-properties XS
get_property_ids_for_metric GET /api/metrics/{id}/relationships/metric-properties XS
get_metric_for_metric_property GET /api/metric-properties/{id}/metric XS
get_metric_id_for_metric_property GET /api/metric-properties/{id}/relationships/metric XS
get_metrics_for_custom_metric GET /api/custom-metrics/{id}/metrics S
get_metric_ids_for_custom_metric GET /api/custom-metrics/{id}/relationships/metrics S
get_metric_for_mapped_metric GET /api/mapped-metrics/{id}/metric S
get_metric_id_for_mapped_metric GET /api/mapped-metrics/{id}/relationships/metric S
get_custom_metric_for_mapped_metric GET /api/mapped-metrics/{id}/custom-metric S
get_custom_metric_id_for_mapped_metric GET /api/mapped-metrics/{id}/relationships/custom-metric S
# Campaigns
get_campaigns GET /api/campaigns M
create_campaign POST /api/campaigns M
get_campaign GET /api/campaigns/{id} M
update_campaign PATCH /api/campaigns/{id} M
delete_campaign DELETE /api/campaigns/{id} M
get_campaign_message GET /api/campaign-messages/{id} M
update_campaign_message PATCH /api/campaign-messages/{id} M
get_campaign_send_job GET /api/campaign-send-jobs/{id} M
cancel_campaign_send PATCH /api/campaign-send-jobs/{id} M
get_campaign_recipient_estimation_job GET /api/campaign-recipient-estimation-jobs/{id} M
get_campaign_recipient_estimation GET /api/campaign-recipient-estimations/{id} M
create_campaign_clone POST /api/campaign-clone M
assign_template_to_campaign_message POST /api/campaign-message-assign-template M
send_campaign POST /api/campaign-send-jobs M
refresh_campaign_recipient_estimation POST /api/campaign-recipient-estimation-jobs M
get_campaign_for_campaign_message GET /api/campaign-messages/{id}/campaign M
get_campaign_id_for_campaign_message GET /api/campaign-messages/{id}/relationships/campaign M
get_template_for_campaign_message GET /api/campaign-messages/{id}/template M
get_template_id_for_campaign_message GET /api/campaign-messages/{id}/relationships/template M
get_image_for_campaign_message GET /api/campaign-messages/{id}/image M
get_image_id_for_campaign_message GET /api/campaign-messages/{id}/relationships/image M
update_image_for_campaign_message PATCH /api/campaign-messages/{id}/relationships/image M
get_tags_for_campaign GET /api/campaigns/{id}/tags S
get_tag_ids_for_campaign GET /api/campaigns/{id}/relationships/tags S
get_messages_for_campaign GET /api/campaigns/{id}/campaign-messages M
get_message_ids_for_campaign GET /api/campaigns/{id}/relationships/campaign-messages M
# Templates
get_templates GET /api/templates L
create_template POST /api/templates L
get_template GET /api/templates/{id} L
update_template PATCH /api/templates/{id} L
delete_template DELETE /api/templates/{id} L
get_all_universal_content GET /api/template-universal-content L
create_universal_content POST /api/template-universal-content L
get_universal_content GET /api/template-universal-content/{id} L
update_universal_content PATCH /api/template-universal-content/{id} L
delete_universal_content DELETE /api/template-universal-content/{id} L
render_template POST /api/template-render S
clone_template POST /api/template-clone L
# Reporting
query_campaign_values POST /api/campaign-values-reports REPORT 225
query_flow_values POST /api/flow-values-reports REPORT 225
query_flow_series POST /api/flow-series-reports REPORT 225
query_form_values POST /api/form-values-reports REPORT 225
query_form_series POST /api/form-series-reports REPORT 225
query_segment_values POST /api/segment-values-reports REPORT 225
query_segment_series POST /api/segment-series-reports REPORT 225
# Webhooks
get_webhooks GET /api/webhooks XS
create_webhook POST /api/webhooks XS
get_webhook GET /api/webhooks/{id} XS
update_webhook PATCH /api/webhooks/{id} XS
delete_webhook DELETE /api/webhooks/{id} XS
get_webhook_topics GET /api/webhook-topics XS
get_webhook_topic GET /api/webhook-topics/{id} XS
# Accounts
get_accounts GET /api/accounts XS
get_account GET /api/accounts/{id} XS
# Data Privacy
request_profile_deletion POST /api/data-privacy-deletion-jobs S
# Flows
get_flows GET /api/flows S
create_flow POST /api/flows XS 100
get_flow GET /api/flows/{id} S
update_flow PATCH /api/flows/{id} S
delete_flow DELETE /api/flows/{id} S
get_flow_action GET /api/flow-actions/{id} S
update_flow_action PATCH /api/flow-actions/{id} S
delete_flow_action DELETE /api/flow-actions/{id} S
get_flow_message GET /api/flow-messages/{id} S
get_actions_for_flow GET /api/flows/{id}/flow-actions S
get_action_ids_for_flow GET /api/flows/{id}/relationships/flow-actions S
get_tags_for_flow GET /api/flows/{id}/tags S
get_tag_ids_for_flow GET /api/flows/{id}/relationships/tags S
get_flow_for_flow_action GET /api/flow-actions/{id}/flow S
get_flow_id_for_flow_action GET /api/flow-actions/{id}/relationships/flow S
get_flow_action_messages GET /api/flow-actions/{id}/flow-messages S
get_message_ids_for_flow_action GET /api/flow-actions/{id}/relationships/flow-messages S
get_action_for_flow_message GET /api/flow-messages/{id}/flow-action S
get_action_id_for_flow_message GET /api/flow-messages/{id}/relationships/flow-action S
get_template_for_flow_message GET /api/flow-messages/{id}/template S
get_template_id_for_flow_message GET /api/flow-messages/{id}/relationships/template S
# Tags
get_tags GET /api/tags S
create_tag POST /api/tags S
get_tag GET /api/tags/{id} S
update_tag PATCH /api/tags/{id} S
delete_tag DELETE /api/tags/{id} S
get_tag_groups GET /api/tag-groups S
create_tag_group POST /api/tag-groups S
get_tag_group GET /api/tag-groups/{id} S
update_tag_group PATCH /api/tag-groups/{id} S
delete_tag_group DELETE /api/tag-groups/{id} S
get_flow_ids_for_tag GET /api/tags/{id}/relationships/flows S
tag_flows POST /api/tags/{id}/relationships/flows S
remove_tag_from_flows DELETE /api/tags/{id}/relationships/flows S
get_campaign_ids_for_tag GET /api/tags/{id}/relationships/campaigns S
tag_campaigns POST /api/tags/{id}/relationships/campaigns S
remove_tag_from_campaigns DELETE /api/tags/{id}/relationships/campaigns S
get_list_ids_for_tag GET /api/tags/{id}/relationships/lists S
tag_lists POST /api/tags/{id}/relationships/lists S
remove_tag_from_lists DELETE /api/tags/{id}/relationships/lists S
get_segment_ids_for_tag GET /api/tags/{id}/relationships/segments S
tag_segments POST /api/tags/{id}/relationships/segments S
remove_tag_from_segments DELETE /api/tags/{id}/relationships/segments S
get_tag_group_for_tag GET /api/tags/{id}/tag-group S
get_tag_group_id_for_tag GET /api/tags/{id}/relationships/tag-group S
get_tags_for_tag_group GET /api/tag-groups/{id}/tags S
get_tag_ids_for_tag_group GET /api/tag-groups/{id}/relationships/tags S
"""
