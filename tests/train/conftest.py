"""A signer for training tests."""

from __future__ import annotations

import pytest

from support.serving import Keys, make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """A key pair that lasts for the session."""
    return make_keys(tmp_path_factory.mktemp("keys"))
