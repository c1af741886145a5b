"""Settings: from the environment, `.env` and `bridge.toml`, in this order of strength.

The only reader of the environment. Everything that is wrong is reported at once, before anything starts.
Environments (development, staging, production) are rows of values in `ENVIRONMENTS`, never branches in code.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from klaviyo_bridge.errors import ConfigError, Problem

ENVIRONMENTS: Mapping[str, Mapping[str, Any]] = {
    "development": {
        "klaviyo_host": "http://127.0.0.1:8600",
        "cache_ttl": 0.0,
        "log_format": "console",
        "pull_every": 5.0,
        "push_every": 5.0,
    },
    "staging": {"cache_ttl": 60.0, "log_format": "json"},
    "production": {"cache_ttl": 300.0, "log_format": "json"},
}
SHORTEST_SECRET = 16  # Klaviyo's own minimum for a webhook secret


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SHORTEST_SECRET:
        raise ValueError(f"must have at least {SHORTEST_SECRET} characters")
    return secret


Secret = Annotated[SecretStr, AfterValidator(_long_enough)]


class FieldSettings(BaseModel):
    """One mapped field: a column, and who wins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    owner: Literal["app", "klaviyo", "newest"] = "newest"
    direction: Literal["push", "pull", "both"] = "both"
    invalid: Literal["refuse", "omit"] | None = None


class MappingSettings(BaseModel):
    """A table of the application and the Klaviyo fields its columns are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    url: SecretStr
    table: str | None = None
    query: str | None = None
    key: str
    cursor: str | None = None
    prefix: str = Field("", max_length=64)
    country: str | None = Field(None, pattern=r"^[A-Z]{2}$")
    timezone: str = "UTC"
    overlap: float = Field(300.0, ge=0)
    read_only: bool = False
    deleted: str | None = None
    fields: dict[str, FieldSettings]
    consent: dict[Literal["email", "sms"], str] = {}

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.table is None and self.query is None:
            raise ValueError("needs a table or a query")
        return self

    @field_validator("fields", mode="before")
    @classmethod
    def _short_form(cls, fields: Any) -> Any:
        """`email = "email_address"` is short for `email = { column = "email_address" }`."""
        if not isinstance(fields, dict):
            return fields
        named = cast(dict[str, Any], fields)
        return {name: {"column": rule} if isinstance(rule, str) else rule for name, rule in named.items()}


class EventSettings(BaseModel):
    """A query of the application's whose rows are events of one metric."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    url: SecretStr
    query: str
    metric: str
    cursor: str
    unique_id: str
    time: str
    profile: dict[Literal["email", "phone_number", "external_id", "klaviyo_id"], str] = Field(min_length=1)
    value: str | None = None
    value_currency: str | None = None
    properties: dict[str, str] = {}


class Settings(BaseSettings):
    """Everything the bridge can be told. Secrets never show in `repr` or logs; each may also come from a file
    named by `NAME_FILE`.
    """

    model_config = SettingsConfigDict(
        env_prefix="BRIDGE_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    environment: Literal["development", "staging", "production"] = Field(
        "production", description="which row of defaults applies; changes values, never behaviour"
    )
    account: str = Field("default", pattern=r"^[\w-]{1,64}$", description="our name for the Klaviyo account")
    klaviyo_private_key: SecretStr = Field(
        validation_alias="KLAVIYO_PRIVATE_KEY", description="private API key (pk_…) of the Klaviyo account"
    )
    klaviyo_public_key: str | None = Field(
        None, validation_alias="KLAVIYO_PUBLIC_KEY", description="public key (six characters), for checks only"
    )
    klaviyo_webhook_signing_secret: Annotated[tuple[Secret, ...], NoDecode] = Field(
        (),
        validation_alias="KLAVIYO_WEBHOOK_SIGNING_SECRET",
        description="secret of the webhook, 16 characters or more; several, by commas, while one is being rotated",
    )
    klaviyo_host: str = Field("https://a.klaviyo.com", description="Klaviyo, or a simulator on this machine")
    database_url: SecretStr = Field(
        SecretStr("sqlite:///bridge.db"), description="the bridge's own database: SQLite, or Postgres at scale"
    )
    api_keys: Annotated[tuple[Secret, ...], NoDecode] = Field(
        (), description="keys the application may call the HTTP API with, by commas; without one it is closed"
    )
    host: str = Field("127.0.0.1", description="address the HTTP service listens on")
    port: int = Field(8700, ge=0, le=65535, description="port the HTTP service listens on")
    log_format: Literal["console", "json"] = Field("json", description="how log lines look")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")
    cache_ttl: float = Field(300.0, ge=0, description="seconds that lists and segments are remembered")
    cache_url: SecretStr | None = Field(
        None, description="redis:// URL of a Redis or Valkey to remember lists and segments in; else in process"
    )
    erasure_key: Secret | None = Field(
        None, description="key of the hashes that recognise erased people; else one is made and kept in the database"
    )
    push_every: float = Field(60.0, gt=0, description="seconds between two looks at the mapped tables")
    pull_every: float = Field(60.0, gt=0, description="seconds between two looks at Klaviyo's changes")
    job_poll: float = Field(
        2.0, gt=0, description="seconds between two looks for jobs of other processes; our own are seen at once"
    )
    backlog_limit: int = Field(1_000_000, gt=0, description="waiting rows beyond which ingest answers 503")
    webhook_tolerance: float = Field(300.0, gt=0, description="seconds a signed webhook may be old")
    webhook_retention: float = Field(30.0, ge=1, description="days that handled webhook events are kept")
    flow_webhook_tokens: Annotated[tuple[Secret, ...], NoDecode] = Field(
        (), description="tokens that webhook actions of flows send, 16 characters or more, by commas"
    )
    poll_topics: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="webhook topics, or our names for them, whose events are polled too; by commas, * for any"
    )
    events: tuple[EventSettings, ...] = Field((), description="queries whose rows are events; see bridge.toml")
    otlp_endpoint: str | None = Field(
        None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="where traces and metrics go by OTLP over HTTP (extra otel); without it there is /metrics only",
    )
    export_url: str = Field(
        "duckdb:///export/warehouse.duckdb",
        description="where an export goes: duckdb:///file, postgresql://…, or the name of a dlt destination",
    )
    export_parquet: str = Field(
        "export/parquet", description="folder of Parquet files beside a DuckDB export; empty for none"
    )
    export_dataset: str = Field("klaviyo", pattern=r"^[a-z][a-z0-9_]{0,50}$", description="schema of the export")
    export_layout: Literal["own", "fivetran"] = Field("own", description="names and types of the exported tables")
    export_since: datetime = Field(
        datetime(2012, 1, 1, tzinfo=UTC), description="time before the first event that is exported"
    )
    export_full_days: float = Field(7.0, gt=0, description="days between two full reads, which find what was deleted")
    export_figures_hours: float = Field(
        6.0, ge=0, description="hours between two looks at Klaviyo's aggregates and reports; 0 for never"
    )
    mappings: tuple[MappingSettings, ...] = Field((), description="the application's tables; see bridge.toml")

    @field_validator("klaviyo_webhook_signing_secret", "api_keys", "flow_webhook_tokens", "poll_topics", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("mappings")
    @classmethod
    def _apart(cls, mappings: tuple[MappingSettings, ...]) -> tuple[MappingSettings, ...]:
        """Two tables that number their rows alike must not become one person."""
        names = [mapping.name for mapping in mappings]
        prefixes = [mapping.prefix for mapping in mappings]
        if len(set(names)) < len(names):
            raise ValueError("two mappings have one name")
        if len(set(prefixes)) < len(prefixes):
            raise ValueError(
                'two mappings have one prefix, so that key 1 of both were one person; say prefix = "lead-"'
            )
        return mappings

    @field_validator("klaviyo_private_key")
    @classmethod
    def _private(cls, key: SecretStr) -> SecretStr:
        if not key.get_secret_value().startswith("pk_"):
            raise ValueError("is not a private key; Klaviyo's begin with pk_")
        return key

    @field_validator("klaviyo_host")
    @classmethod
    def _safe_host(cls, host: str) -> str:
        loopback = ("http://127.0.0.1", "http://localhost", "http://[::1]")
        if not host.startswith(("https://", *loopback)):
            raise ValueError("must be https; plain http is for a simulator on this machine")
        return host.rstrip("/")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, Path(os.environ.get("BRIDGE_CONFIG", "bridge.toml")))
        stronger = (init_settings, _SecretFiles(settings_cls), env_settings, dotenv_settings, toml)
        return (*stronger, _EnvironmentDefaults(settings_cls, stronger))


class _SecretFiles(PydanticBaseSettingsSource):
    """`NAME_FILE` names a file that holds the value of `NAME`, as container platforms mount secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = variable_of(field, field_name)
        path = os.environ.get(f"{name}_FILE")
        value = Path(path).read_text("utf-8").strip() if path else None
        return value, str(field.validation_alias or field_name), False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {key: value for value, key, _ in found if value is not None}


class _EnvironmentDefaults(PydanticBaseSettingsSource):
    """The weakest source: the row of `ENVIRONMENTS` that the stronger ones name."""

    def __init__(self, settings_cls: type[BaseSettings], stronger: tuple[PydanticBaseSettingsSource, ...]) -> None:
        super().__init__(settings_cls)
        self._stronger = stronger

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        named = (source().get("environment") for source in self._stronger)
        return dict(ENVIRONMENTS.get(next((name for name in named if name), "production"), {}))


def variable_of(field: FieldInfo, field_name: str) -> str:
    """The environment variable of a setting."""
    return str(field.validation_alias) if field.validation_alias else f"BRIDGE_{field_name.upper()}"


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process. Raises `ConfigError` with every problem, none of them quoting a value."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = [
            Problem(_named(problem["loc"]), problem["msg"].removeprefix("Value error, ")) for problem in error.errors()
        ]
        raise ConfigError(problems=problems) from None
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise ConfigError(problems=[Problem("bridge.toml", f"cannot be read: {type(error).__name__}")]) from None


def _named(location: tuple[int | str, ...]) -> str:
    """A setting as the person wrote it: the variable for simple ones, the path for those in bridge.toml."""
    first, *rest = location
    field = Settings.model_fields.get(str(first))
    if field is None or first in ("mappings", "events"):
        return ".".join(str(part) for part in location)
    return ".".join([variable_of(field, str(first)), *(str(part) for part in rest)])
