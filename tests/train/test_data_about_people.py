"""Data about people is noticed and told; what a datasheet asks has a place; a bundle knows its commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from pilotage_server.train.config import ConfigError, read_config
from pilotage_server.train.data.personal import looks_personal
from support.serving import IRIS, a_config, train_config
from support.tables import a_credit_config, a_credit_file


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("contact", "ada@example.org", "email addresses"),
        ("contact", "+44 20 7946 0000", "phone numbers"),
        ("account", "GB33BUKB20201555555555", "bank accounts"),
        ("client", "192.0.2.7", "IP addresses"),
        ("client", "2001:db8:0:0:0:0:0:1", "IP addresses"),
        ("paid_with", "4111 1111 1111 1111", "card numbers"),
        ("paid_with", "4111 1111 1111 1112", ""),
        ("Date of birth", "1", "personal data, by its name"),
        ("product_name", "table", ""),
        ("version", "1.2.3", ""),
    ],
)
def test_what_looks_like_people_is_recognised(name: str, text: str, found: str) -> None:
    assert looks_personal(name, ["—", text]) == found


def test_personal_features_are_told_and_the_datasheet_is_kept(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv", email=[f"{'abc'[i % 3]}@example.org" for i in range(240)])
    about = {"consent": "given with the application", "licence": "internal"}
    config = a_credit_config(path, data={"csv": {"path": str(path), "target": "defaulted"}, "about": about})

    document = train_config(config, tmp_path / "run").document

    assert document["data"]["about"] == about
    assert document["data"]["personal"] == ["email"]
    (note,) = [warning for warning in document["warnings"] if "'email'" in warning]
    assert note == (
        "'email' is a feature and holds email addresses; leave it out with data.columns.ignore unless it is justified; "
        "say under data.about.retention how long rows are kept"
    )


def test_an_unknown_topic_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(
        yaml.safe_dump(a_config(IRIS, data={"dataset": "iris", "about": {"license": "x"}}))
    )

    with pytest.raises(ConfigError, match=r"data\.about\.license: unknown key; did you mean 'licence'\?"):
        read_config(tmp_path / "it.yaml")


def test_the_revision_is_the_commit_that_last_changed_the_configuration(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    config = tmp_path / "it.yaml"
    config.write_text(yaml.safe_dump(IRIS))
    git("init", "-q")
    untracked = read_config(config).revision
    git("add", "it.yaml")
    git("commit", "-qm", "the configuration")
    first = git("rev-parse", "HEAD")
    git("commit", "-qm", "something else", "--allow-empty")
    clean = read_config(config).revision
    config.write_text(yaml.safe_dump({**IRIS, "version": "v2"}))

    assert (untracked, clean, read_config(config).revision) == ("", first, f"{first}-dirty")
