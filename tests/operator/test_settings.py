"""Flag, then environment, then default; whatever is wrong is told at once, with the remedy."""

from dataclasses import fields
from pathlib import Path

import pytest

from pilotage.settings import Settings, SettingsRefused, parse


def test_defaults_stand_without_flags_and_environment() -> None:
    found = parse(["--identity", "a"], {})
    assert found == Settings(namespace="pilotage", identity="a")


def test_a_flag_wins_over_the_environment() -> None:
    found = parse(["--workers", "7"], {"PILOTAGE_WORKERS": "3", "PILOTAGE_RESYNC_S": "60"})
    assert (found.workers, found.resync_s) == (7, 60.0)


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        SettingsRefused, match=r"PILOTAGE_PROBE_INTERVAL: unknown setting; did you mean PILOTAGE_PROBE_"
    ):
        parse([], {"PILOTAGE_PROBE_INTERVAL": "5"})


@pytest.mark.parametrize(
    "name",
    [
        "PILOTAGE_POD_ROOT",
        "PILOTAGE_METRICS_SERVICE_HOST",
        "PILOTAGE_METRICS_SERVICE_PORT",
        "PILOTAGE_METRICS_SERVICE_PORT_HTTP",
        "PILOTAGE_METRICS_PORT",
        "PILOTAGE_METRICS_PORT_8080_TCP_ADDR",
        "PILOTAGE_SERVICE_HOST",
    ],
)
def test_what_kubernetes_puts_into_a_pod_is_no_setting(name: str) -> None:
    parse([], {name: "anything"})


def test_every_mistake_is_told_at_once() -> None:
    wrong = {"PILOTAGE_WORKERS": "many", "PILOTAGE_LISTEN": "8080", "PILOTAGE_LOG_LEVEL": "loud"}
    with pytest.raises(SettingsRefused) as refused:
        parse(["--probe-timeout-s", "0"], wrong)
    text = "\n".join(refused.value.problems)
    assert "PILOTAGE_WORKERS: 'many' is not a number" in text
    assert "PILOTAGE_LISTEN: '8080' is not an address; write host:port" in text
    assert "PILOTAGE_LOG_LEVEL: 'LOUD' is not one of DEBUG" in text
    assert "--probe-timeout-s: 0 is out of range" in text


def test_a_pod_knows_its_name() -> None:
    assert parse([], {"POD_NAME": "pilotage-5d-x"}).identity == "pilotage-5d-x"


def test_every_setting_stands_in_the_reference() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "operator.md").read_text()
    missing = [item.name for item in fields(Settings) if f"--{item.name.replace('_', '-')}" not in page]
    assert missing == []
