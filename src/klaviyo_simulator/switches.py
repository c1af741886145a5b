"""Where Klaviyo's behaviour is unknown or differs by account: one switch each, the most cautious default.

Every switch is explained in `docs/simulator/known-and-assumed.md`; a test keeps the two lists equal.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from klaviyo_simulator.errors import ControlError, JsonObject


@dataclass(slots=True, kw_only=True)
class Switches:
    """Behaviour that a user may change while the simulator runs."""

    kdp: bool = False
    limits: bool = True
    limit_factor: float = 1.0
    limits_aligned: bool = True
    limits_count_429: bool = True
    limits_simulated_clock: bool = False
    strict_cursors: bool = True
    strict_parameters: bool = True
    revision_retired_answers_410: bool = True
    bulk_event_repeat_checks_stored: bool = True
    bulk_bad_phone: str = "refuse"
    phone_regions: str = ""
    email_folding: bool = True
    identifier_precedence: str = "external_id,email,phone_number,anonymous_id,_kx"
    conflict_names_duplicate: bool = True
    null_property: str = "keep"
    touch_on_equal_write: bool = True
    event_touches_profile: bool = False
    account_double_opt_in: bool = True
    subscribe_without_list_creates: bool = False
    bulk_import_triggers_list_flows: bool = True
    profile_creation_triggers_flows: bool = True
    bulk_creation_triggers_flows: bool = False
    merge_keeps_source_id: bool = True
    webhook_header_offset_hours: float = 5.0
    webhook_retries: int = 5
    webhook_retry_seconds: float = 2.0
    webhook_batch_seconds: float = 0.3
    webhook_timeout_seconds: float = 10.0
    estimation_works: bool = True
    delay_event: float = 0.05
    delay_bulk_event: float = 0.1
    delay_import: float = 0.2
    delay_subscribe: float = 0.2
    delay_unsubscribe: float = 0.05
    delay_suppress: float = 0.2
    delay_membership: float = 0.1
    delay_merge: float = 0.1
    delay_deletion: float = 0.2
    delay_segment: float = 0.1
    delay_send: float = 0.2
    audience_opens: float = 0.35
    audience_clicks: float = 0.06
    audience_bounces: float = 0.01
    audience_unsubscribes: float = 0.003
    audience_complaints: float = 0.0005
    audience_hours: float = 24.0

    def as_dict(self) -> JsonObject:
        return asdict(self)

    def change(self, values: JsonObject) -> None:
        """Set the named switches; ControlError names the one that does not exist or has a wrong type."""
        known: dict[str, type[object]] = {item.name: type(getattr(self, item.name)) for item in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ControlError(f"There is no switch '{name}'. Switches: {', '.join(sorted(known))}")
            setattr(self, name, _converted(name, value, known[name]))


def _converted(name: str, value: object, kind: type[object]) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ControlError(f"Switch '{name}' takes a {kind.__name__}, not {value!r}.")
    return value
