"""Who may join what, and the API that publishes to them."""

import pytest
from support.api import API
from support.publishing import admit, kept


@pytest.fixture(autouse=True)
def keep():
    yield
    kept.clear()


@pytest.fixture
def api(app, edge):
    app.echo()
    app.on(admit, event="open")
    return API(edge)
