"""What is shipped to run the bridge elsewhere: readable, without root, naming only what exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from klaviyo_bridge.cli import app
from klaviyo_bridge.config import Settings, variable_of

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
TEMPLATES = sorted((ROOT / "deploy/helm/klaviyo-bridge/templates").glob("*.yaml"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "klaviyo-bridge"}
VARIABLES = {variable_of(field, name) for name, field in Settings.model_fields.items()}
COMMANDS = set(typer.main.get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("service", OURS.values(), ids=OURS)
def test_containers_are_read_only_and_have_no_privileges(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_compose_starts_commands_that_exist_with_settings_that_exist() -> None:
    commands = {service["command"][0] for service in OURS.values() if "command" in service}
    variables = {name for service in OURS.values() for name in service.get("environment", ())}

    assert commands == {"serve", "worker"} <= COMMANDS
    assert variables <= VARIABLES


def test_no_port_is_published_beyond_this_machine_and_no_password_is_preset() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "${POSTGRES_PASSWORD:?" in COMPOSE["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"]


def test_the_image_runs_without_root() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()

    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert 'CMD ["up"]' in lines


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_hardened_and_start_commands_that_exist(unit: Path) -> None:
    text = unit.read_text("utf-8")

    command = re.search(r"^ExecStart=\S+/klaviyo-bridge (\w+)$", text, re.MULTILINE)
    assert command is not None
    assert command[1] in COMMANDS
    for line in ("DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet="):
        assert f"\n{line}\n" in text


def rendered(template: Path) -> list[dict[str, Any]]:
    """The chart's template as YAML: directives of their own line dropped, values replaced by a word."""
    lines = [line for line in template.read_text("utf-8").splitlines() if not re.match(r"^\s*\{\{-? .*\}\}$", line)]
    return [found for found in yaml.safe_load_all(re.sub(r"\{\{.*?\}\}", "word", "\n".join(lines))) if found]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_templates_of_the_chart_are_yaml(template: Path) -> None:
    assert all({"apiVersion", "kind", "metadata", "spec"} <= set(found) for found in rendered(template))


def test_the_chart_probes_and_bounds_disruption() -> None:
    found = {document["kind"]: document for template in TEMPLATES for document in rendered(template)}
    (serve,) = rendered(ROOT / "deploy/helm/klaviyo-bridge/templates/serve.yaml")[0]["spec"]["template"]["spec"][
        "containers"
    ]

    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(serve)
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    chart = yaml.safe_load((ROOT / "deploy/helm/klaviyo-bridge/Chart.yaml").read_text("utf-8"))

    assert chart["appVersion"] == project


def test_everything_the_package_reads_at_run_time_is_inside_it() -> None:
    package = ROOT / "src/klaviyo_bridge"

    assert (package / "infra/migrations/env.py").exists()
    assert list((package / "infra/migrations/versions").glob("0*.py"))
