"""Flag, then environment, then default; every mistake at once, and nothing unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotage_server.serve import SettingsRefused, read_settings

GOOD = {"BUNDLE": "/b", "ALLOW_UNSIGNED": "true"}


def test_a_flag_beats_the_environment_which_beats_the_default() -> None:
    env = {"PILOTAGE_SERVER_PORT": "9000", "PILOTAGE_SERVER_DRAIN_SECONDS": "2.5", "PILOTAGE_SERVER_HOST": "127.1.2.3"}

    settings = read_settings({**GOOD, "PORT": "9001"}, env)

    assert (settings.port, settings.admin_port) == (9001, 8081)
    assert (settings.shutdown.drain_s, settings.host) == (2.5, "127.1.2.3")


def test_the_defaults_are_those_of_the_design() -> None:
    settings = read_settings(GOOD, {})

    assert settings.shutdown.drain_s == 10
    assert settings.shutdown.last_scrape_s == 15
    assert (settings.connections.requests, settings.connections.age_s, settings.connections.idle_s) == (100, 30, 75)
    assert (settings.limits.body_bytes, settings.limits.rows) == (8 * 2**20, 4096)


def test_reports_all_mistakes_together() -> None:
    env = {"PILOTAGE_SERVER_MAX_ROWS": "0", "PILOTAGE_SERVER_DRAIN_SECOND": "1", "PILOTAGE_BUNDLE_KEY_DIR": "/keys"}

    with pytest.raises(SettingsRefused) as refused:
        read_settings({**GOOD, "DRAIN_SECONDS": "-1"}, env)

    assert str(refused.value).splitlines() == [
        "PILOTAGE_SERVER_MAX_ROWS: '0' is not a whole number from 1 to 65535",
        "--drain-seconds: '-1' is not a number of seconds from 0 to 99999",
        "PILOTAGE_SERVER_DRAIN_SECOND: unknown setting; did you mean 'PILOTAGE_SERVER_DRAIN_SECONDS'?",
        "--allow-unsigned: contradicts the bundle keys that are given; leave one of them out",
    ]


def test_leaves_the_variables_of_a_service_with_our_name_alone() -> None:
    env = {
        "PILOTAGE_SERVER_PORT": "tcp://127.0.0.9:8080",
        "PILOTAGE_SERVER_PORT_8080_TCP_ADDR": "127.0.0.9",
        "PILOTAGE_SERVER_SERVICE_HOST": "127.0.0.9",
        "PILOTAGE_SERVER_SERVICE_PORT_HTTP": "8080",
        "PILOTAGE_SERVER_STABLE_SERVICE_HOST": "127.0.0.9",
    }

    assert read_settings(GOOD, env).port == 8080


def test_resolves_mount_paths_under_the_root_of_a_pod_without_mounts() -> None:
    env = {"PILOTAGE_POD_ROOT": "/run/pod", "PILOTAGE_BUNDLE_KEY_DIR": "/pilotage/bundle-keys"}

    settings = read_settings({"BUNDLE": "/pilotage/bundle"}, env)

    assert settings.bundle == Path("/run/pod/pilotage/bundle")
    assert settings.bundle_key_dir == Path("/run/pod/pilotage/bundle-keys")


def test_feedback_needs_to_know_its_cluster() -> None:
    with pytest.raises(SettingsRefused, match=r"^PILOTAGE_CLUSTER: is missing; feedback tokens name the cluster"):
        read_settings({**GOOD, "FEEDBACK_KEY_DIR": "/k"}, {})
