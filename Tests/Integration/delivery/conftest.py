"""The tests in this folder are about retries, so their sidecars retry as they do by default."""

import pytest


@pytest.fixture
def usual_settings():
    return {}
