"""Settings: every problem at once, no value quoted, the same code in every environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from klaviyo_bridge.config import ENVIRONMENTS, Settings, load_settings
from klaviyo_bridge.errors import ConfigError

KEY = "pk_0123456789abcdef"
SECRET = "whsec-0123456789abcdef"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KLAVIYO_PRIVATE_KEY", KEY)
    for name in ("KLAVIYO_PUBLIC_KEY", "KLAVIYO_WEBHOOK_SIGNING_SECRET", "BRIDGE_CONFIG", "BRIDGE_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)


class TestReading:
    def test_takes_klaviyos_own_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KLAVIYO_PUBLIC_KEY", "AbC123")
        monkeypatch.setenv("KLAVIYO_WEBHOOK_SIGNING_SECRET", f"{SECRET}, {SECRET}-next")

        settings = load_settings()

        assert settings.klaviyo_private_key.get_secret_value() == KEY
        assert settings.klaviyo_public_key == "AbC123"
        assert [s.get_secret_value() for s in settings.klaviyo_webhook_signing_secret] == [SECRET, f"{SECRET}-next"]

    def test_reads_a_secret_from_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("pk_from_a_file\n")
        monkeypatch.setenv("KLAVIYO_PRIVATE_KEY_FILE", str(tmp_path / "key"))

        assert load_settings().klaviyo_private_key.get_secret_value() == "pk_from_a_file"

    def test_the_environment_is_stronger_than_dotenv_and_that_than_toml(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "bridge.toml").write_text("port = 1\nbacklog_limit = 1\njob_poll = 1.5\n")
        (tmp_path / ".env").write_text("BRIDGE_PORT=2\nBRIDGE_BACKLOG_LIMIT=2\n")
        monkeypatch.setenv("BRIDGE_PORT", "3")

        settings = load_settings()

        assert (settings.port, settings.backlog_limit, settings.job_poll) == (3, 2, 1.5)

    def test_reads_mappings_in_short_and_long_form(self, tmp_path: Path) -> None:
        (tmp_path / "bridge.toml").write_text(
            '[[mappings]]\nname = "people"\nurl = "sqlite:///shop.db"\ntable = "users"\nkey = "id"\n'
            '[mappings.fields]\nemail = "mail"\nfirst_name = { column = "name", owner = "app" }\n'
        )

        (mapping,) = load_settings().mappings

        assert mapping.fields["email"].column == "mail"
        assert mapping.fields["first_name"].owner == "app"

    @pytest.mark.parametrize("environment", ENVIRONMENTS)
    def test_an_environment_is_a_row_of_defaults(self, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BRIDGE_ENVIRONMENT", environment)

        settings = load_settings()

        for name, value in ENVIRONMENTS[environment].items():
            assert getattr(settings, name) == value

    def test_an_explicit_value_beats_the_environments_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BRIDGE_ENVIRONMENT", "staging")
        monkeypatch.setenv("BRIDGE_CACHE_TTL", "7")

        assert load_settings().cache_ttl == 7


class TestRefusing:
    def test_every_problem_is_named_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KLAVIYO_PRIVATE_KEY", "sk_not_a_klaviyo_key")
        monkeypatch.setenv("KLAVIYO_WEBHOOK_SIGNING_SECRET", "short")
        monkeypatch.setenv("BRIDGE_PORT", "seventy")
        monkeypatch.setenv("BRIDGE_KLAVIYO_HOST", "http://klaviyo.example.com")

        with pytest.raises(ConfigError) as caught:
            load_settings()

        named = {problem.where for problem in caught.value.problems}
        assert named == {
            "KLAVIYO_PRIVATE_KEY",
            "KLAVIYO_WEBHOOK_SIGNING_SECRET.0",
            "BRIDGE_PORT",
            "BRIDGE_KLAVIYO_HOST",
        }

    def test_no_problem_quotes_a_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KLAVIYO_PRIVATE_KEY", "sk_canary_value")
        monkeypatch.setenv("BRIDGE_API_KEYS", "canary")

        with pytest.raises(ConfigError) as caught:
            load_settings()

        assert "canary" not in str(caught.value)

    def test_a_broken_toml_file_is_a_problem_of_the_settings(self, tmp_path: Path) -> None:
        (tmp_path / "bridge.toml").write_text("port = [")

        with pytest.raises(ConfigError, match=r"bridge\.toml"):
            load_settings()


def test_neither_repr_nor_str_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLAVIYO_WEBHOOK_SIGNING_SECRET", SECRET)
    monkeypatch.setenv("BRIDGE_DATABASE_URL", "postgresql://u:hunter2-password@localhost/bridge")

    shown = f"{load_settings()!r} {load_settings()}"

    assert not [secret for secret in (KEY, SECRET, "hunter2") if secret in shown]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is(name: str) -> None:
    assert Settings.model_fields[name].description
