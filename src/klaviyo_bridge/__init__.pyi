"""Keeps an application's database and Klaviyo in step, both ways, and loses nothing on the way.

```python
with open_bridge(load_settings()) as bridge:
    bridge.profiles.push({"email": "ann@example.com", "first_name": "Ann"})
    bridge.events.track_purchase({"email": "ann@example.com"}, Order(order_id="1001", …))
```
"""

from klaviyo_bridge.bridge import Bridge as Bridge
from klaviyo_bridge.bridge import open_bridge as open_bridge
from klaviyo_bridge.config import Settings, load_settings
from klaviyo_bridge.domain.event import Event, LineItem, Order
from klaviyo_bridge.domain.profile import ProfileChange
from klaviyo_bridge.errors import (
    BridgeError,
    CircuitOpen,
    ConfigError,
    ConsentRefused,
    DuplicateProfile,
    InvalidPayload,
    InvalidWebhook,
    NotAuthorized,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    Problem,
    RateLimited,
    Rejected,
    Unavailable,
)

__all__ = [
    "Bridge",
    "BridgeError",
    "CircuitOpen",
    "ConfigError",
    "ConsentRefused",
    "DuplicateProfile",
    "Event",
    "InvalidPayload",
    "InvalidWebhook",
    "LineItem",
    "NotAuthorized",
    "NotFound",
    "Order",
    "OutcomeUnknown",
    "Overloaded",
    "Problem",
    "ProfileChange",
    "RateLimited",
    "Rejected",
    "Settings",
    "Unavailable",
    "load_settings",
    "open_bridge",
]
