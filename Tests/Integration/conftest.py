"""Fixtures: an app, a sidecar before it, and the checks every test ends with."""

import subprocess

import pytest
from support.app import App, open_gates
from support.net import eventually
from support.process import Sidesocket
from support.raw import close_clients
from support.swarm import Swarm


@pytest.fixture
def make_app():
    """Makes apps that are stopped at the end; a request that breaks HTTP fails the test."""
    apps = []

    def make(**how):
        apps.append(App(**how))
        return apps[-1]

    yield make
    open_gates()
    for app in apps:
        app.stop()
    for app in apps:
        assert app.faults == [], "the app was sent bad HTTP"


@pytest.fixture
def app(make_app):
    """The app behind the sidecar; unscripted it answers 204 to events and 200 to the rest."""
    return make_app()


@pytest.fixture
def usual_settings():
    """What every sidecar of `sidesocket` gets, unless the test sets it; a folder with other needs overrides this."""
    # One attempt: it is the tests in delivery that are about retries.
    return {"WEBHOOK_RETRY_FOR": "off"}


@pytest.fixture
def sidesocket(request, usual_settings):
    """Starts sidecars: `sidesocket(app, WS_PATHS="/ws")`; settings go without their prefix."""
    started = []

    def start(app=None, **settings):
        if app is not None:
            settings.setdefault("APP_URL", app.url)
        started.append(Sidesocket(**{**usual_settings, **settings}))
        return started[-1]

    yield start
    close_clients()
    try:
        for one in started:
            one.check_alive()
    finally:
        for one in started:
            if one.process.poll() is None:
                one.kill()
            if one.output:
                request.node.add_report_section("teardown", "sidesocket", one.output[-20000:])


@pytest.fixture
def swarm():
    """Many raw clients of one sidecar: `swarm(edge)` makes a `Swarm`, whose clients leave at the end."""
    made = []

    def make(edge, *arguments, **more):
        made.append(Swarm(edge.port, *arguments, **more))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


@pytest.fixture
def edge(app, sidesocket):
    """A sidecar with default settings before `app`."""
    return sidesocket(app)


@pytest.fixture(scope="module")
def shared_pair():
    """One app and one sidecar for the many small cases of a file that need no settings of their own."""
    app = App()
    # Short enough to try a timeout, long enough for a busy machine.
    process = Sidesocket(APP_URL=app.url, HANDSHAKE_TIMEOUT="5s", WEBHOOK_RETRY_FOR="off")
    yield app, process
    open_gates()
    process.kill()
    app.stop()


@pytest.fixture
def shared(shared_pair, request):
    """`(app, process)` of the module with a blank script; checked after each test."""
    app, process = shared_pair
    process.check_alive()
    app.reset_script()
    app.faults.clear()
    first_line = len(process.raw_lines)
    yield app, process
    open_gates()
    text = b"".join(process.raw_lines[first_line:]).decode("utf-8", "backslashreplace")
    if text:
        request.node.add_report_section("teardown", "sidesocket", text[-20000:])
    process.check_alive()
    assert app.faults == [], "the app was sent bad HTTP"
    # The next test must not see this one's close events.
    close_clients()
    eventually(lambda: _quiet(app, process), "every WebSocket is gone and its close event delivered")


def _quiet(app, process):
    gauges = ("connections", "webhook_in_flight", "webhook_queue_depth")
    return app.in_flight == 0 and all(process.metric(name) == 0 for name in gauges)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A CA and a certificate it signed for 127.0.0.1 and app.test: (ca, (certificate, key)).

    `other.pem` beside them is a certificate of the same CA and key for other.test alone.
    """
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
        "-subj", "/CN=Test CA", "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "app.key", "-out", "app.csr", "-subj", "/CN=app.test")
    for name, names in {"app": "IP:127.0.0.1,DNS:app.test", "other": "DNS:other.test"}.items():
        (folder / "san").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
        openssl(
            "x509", "-req", "-in", "app.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", "san",
        )  # fmt: skip
    return str(folder / "ca.pem"), (str(folder / "app.pem"), str(folder / "app.key"))
