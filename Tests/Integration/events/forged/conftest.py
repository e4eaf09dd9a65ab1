"""Real servers and frameworks as the app: what counts is what the application understands.

Each kind of forgery is first sent to the app itself, which takes it for genuine, and then to Sidesocket before it.
"""

import contextlib

import pytest
from support.forgery import fresh, serve
from support.real_apps import RealApp

NAMES = ["php", "php-fpm", "lighttpd", "gunicorn", "rails", "express"]


@pytest.fixture(scope="session")
def real_apps(tmp_path_factory):
    """Gives a real app by name. All start at once, since some take a second; a missing program skips its tests."""
    apps, missing = {}, {}
    for name in [*NAMES, "flask"]:
        try:
            apps[name] = RealApp(name, tmp_path_factory.mktemp(name))
        except pytest.skip.Exception as reason:
            missing[name] = reason
    for app in apps.values():
        # One that does not start fails its own tests below.
        with contextlib.suppress(AssertionError):
            app.wait_ready()

    def get(name):
        if name in missing:
            raise missing[name]
        return apps[name].wait_ready()

    yield get
    for app in apps.values():
        app.stop()


@pytest.fixture(scope="module", params=NAMES)
def real(request, real_apps):
    """`(app, process)`: a sidecar with default settings before a real app."""
    yield from serve(real_apps(request.param))


@pytest.fixture
def pair(real):
    return fresh(real)
