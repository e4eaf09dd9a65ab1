"""The tests in this folder are about retries, so their sidecars retry as they do by default."""

import pytest


@pytest.fixture
def usual_settings():
    return {}


@pytest.fixture
def box(tmp_path):
    """The directory of the outbox."""
    folder = tmp_path / "outbox"
    folder.mkdir()
    return folder


@pytest.fixture
def start(app, sidesocket, box):
    """Starts a sidecar with an outbox."""
    # A killed process leaves requests behind that the app may still work on.
    app.one_at_a_time = False

    def go(**settings):
        edge = sidesocket(app, OUTBOX_DIR=str(box), **settings)
        edge.outbox = box
        return edge

    return go
