"""Writes the reference pages that follow from the code: `uv run python docs/generate.py`. A test keeps them equal."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from klaviyo_bridge import errors
from klaviyo_bridge.api.errors import STATUS
from klaviyo_bridge.config import ENVIRONMENTS, Settings, variable_of
from klaviyo_bridge.domain.webhook import CANONICAL, POLLED, POLLED_NAMES
from klaviyo_bridge.infra.telemetry import INSTRUMENTS

ROOT = Path(__file__).parent.parent


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    return {
        ROOT / "docs/reference/settings.md": settings_page(),
        ROOT / "docs/reference/errors.md": errors_page(),
        ROOT / "docs/reference/metrics.md": metrics_page(),
        ROOT / "docs/reference/webhook-names.md": webhook_names_page(),
        ROOT / ".env.example": env_example(),
    }


def settings_page() -> str:
    rows = [
        f"| `{variable_of(field, name)}` | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    environments = [
        f"| {name} | {', '.join(f'`{key} = {value!r}`' for key, value in values.items())} |"
        for name, values in ENVIRONMENTS.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "From the environment, `.env` and `bridge.toml` (where the name is in lower case and without `BRIDGE_`),",
            "the first being the strongest. `NAME_FILE` names a file that holds the value of `NAME`. Whatever is",
            "wrong is reported at once, before anything starts, and ends with exit code 2.",
            "",
            "| variable | default | what it is |",
            "|---|---|---|",
            *rows,
            "",
            "## Environments",
            "",
            "`BRIDGE_ENVIRONMENT` picks a row of weaker defaults; no code depends on its name.",
            "",
            "| environment | defaults |",
            "|---|---|",
            *environments,
            "",
        ]
    )


def webhook_names_page() -> str:
    rows = [
        f"| `{name}` | {', '.join(f'`{metric}`' for metric in metrics) or 'none'} |"
        + (f" as `{POLLED}{name}` |" if name in POLLED_NAMES else " as the events themselves |")
        for name, metrics in CANONICAL.items()
    ]
    return "\n".join(
        [
            "# Names of webhook events",
            "",
            "Klaviyo's topics are `event:<integration>.<metric>`; there is no `profile.updated` or `campaign.sent`",
            "among them. These are our names, and the metrics behind `event:klaviyo.` and `flow:` that stand for them.",
            "A `campaign.*` name wants an event about a message that is not a flow's.",
            "",
            "| name | metrics | polled |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def env_example() -> str:
    lines = ["# Copy to .env. Every setting is in docs/reference/settings.md.", ""]
    for name, field in Settings.model_fields.items():
        if name == "mappings":
            continue
        required = field.default is PydanticUndefined
        value = "" if required or isinstance(field.default, SecretStr | tuple) else _plain(field.default)
        lines += [f"# {field.description}", f"{'' if required else '# '}{variable_of(field, name)}={value}", ""]
    return "\n".join(lines)


def errors_page() -> str:
    rows = [
        f"| `{error.__name__}` | {_status(error)} | {(error.__doc__ or '').strip().splitlines()[0]} |"
        for error in _tree(errors.BridgeError)
    ]
    drawing = (errors.__doc__ or "").split("```")[1].strip()
    return "\n".join(
        [
            "# Errors",
            "",
            "Every error the bridge raises is one of these. *Unavailable*: try again. *Rejected*: never, as it stands.",
            "",
            "```",
            drawing,
            "```",
            "",
            "Over HTTP they are `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, and",
            "`problems`, a list of `where` (a path such as `profiles[3].email`) and `what`.",
            "",
            "| error | HTTP | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def metrics_page() -> str:
    rows = [
        f"| `{found.exposed}` | {found.kind} | {', '.join(f'`{label}`' for label in found.labels) or '-'}"
        f" | {found.meaning} |"
        for found in INSTRUMENTS
    ]
    return "\n".join(
        [
            "# Metrics",
            "",
            "At `GET /metrics` in Prometheus's format, and by OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set; both",
            "need the extra `otel` (`pip install 'klaviyo-bridge[otel]'`). Without it `/metrics` answers 501.",
            "No label holds anything of a person. Gauges describe the shared database: take `max`;",
            "counters and histograms belong to one process: take `sum`. Over OTLP the names have dots and no suffix.",
            "",
            "| metric | kind | labels | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
            "A dashboard is in `deploy/grafana/`, alert rules are in `deploy/prometheus/`.",
            "",
        ]
    )


def _tree(cls: type[errors.BridgeError]) -> list[type[errors.BridgeError]]:
    below = [error for child in cls.__subclasses__() for error in _tree(child)]
    return [cls, *(error for error in below if error.__module__ == errors.__name__)]


def _status(error: type[errors.BridgeError]) -> str:
    status = next((STATUS[cls] for cls in error.__mro__ if cls in STATUS), None)
    return "the process does not start" if error is errors.ConfigError else str(int(status or 500))


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "**required**"
    return f"`{_plain(field.default)}`" if field.default not in (None, ()) else "none"


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else "" if value is None else str(value)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
