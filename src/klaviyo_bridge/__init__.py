"""Keeps an application's database and Klaviyo in step, both ways, and loses nothing on the way.

```python
with open_bridge(load_settings()) as bridge:
    bridge.profiles.push({"email": "ann@example.com", "first_name": "Ann"})
    bridge.events.track_purchase({"email": "ann@example.com"}, Order(order_id="1001", …))
```

Names are loaded when they are first used, so that `klaviyo-bridge --help` stays quick; `__init__.pyi` tells type
checkers where they come from, and a test keeps the two equal.
"""

from importlib import import_module

_HOME = {
    "bridge": ("Bridge", "open_bridge"),
    "config": ("Settings", "load_settings"),
    "domain.event": ("Event", "LineItem", "Order"),
    "domain.profile": ("ProfileChange",),
    "errors": (
        "BridgeError",
        "CircuitOpen",
        "ConfigError",
        "ConsentRefused",
        "DuplicateProfile",
        "InvalidPayload",
        "InvalidWebhook",
        "NotAuthorized",
        "NotFound",
        "OutcomeUnknown",
        "Overloaded",
        "Problem",
        "RateLimited",
        "Rejected",
        "Unavailable",
    ),
}
_MODULE = {name: f"{__name__}.{module}" for module, names in _HOME.items() for name in names}

__all__ = [*_MODULE]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]  # strings, from the table


def __getattr__(name: str) -> object:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE[name]), name)
