"""One real Prometheus for the session, a model name of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from support.prometheus import Prometheus, running_prometheus

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture
def model() -> str:
    return f"digits{next(_numbers)}"
