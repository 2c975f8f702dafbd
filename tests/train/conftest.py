"""A signer for training tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

from support.serving import Keys, make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """A key pair that lasts for the session."""
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Fits of a hundred rows lose more to threads than they gain."""
    with threadpool_limits(limits=1):
        yield
