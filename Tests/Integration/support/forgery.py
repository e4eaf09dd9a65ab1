"""What the tests of forged events share: an event in JSON, requests as bytes, and a sidecar before a real app."""

from .net import eventually
from .process import Sidesocket
from .raw import Client, close_clients

ONE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
MiB = 1 << 20
REQUIRED = '"specversion":"1.0","id":"1","source":"/x"'


def event(type_member='"type":"sidesocket.message"', before="", after=""):
    """An event as text; only what is not given is as it should be."""
    return f"{{{before}{REQUIRED},{type_member}{after}}}".encode()


def sidecar(url, **settings):
    settings = {"APP_URL": url, "WS_PATHS": "/ws", "SSE_PATHS": "/events", "WEBHOOK_RETRY_FOR": "off", **settings}
    return Sidesocket(**settings)


def serve(app):
    """A sidecar before the app, as long as the tests of a fixture need it."""
    process = sidecar(app.url)
    yield app, process
    close_clients()
    process.check_alive()
    process.kill()


def fresh(pair):
    """The same for one more test, which sees no requests but its own."""
    app, process = pair
    process.check_alive()
    app.forget()
    return app, process


def answers(port, request):
    """Sends bytes on a connection of their own and returns the answer."""
    with Client(port) as client:
        client.try_send(request)
        return client.response()


def is_refused(port, request, *statuses):
    """True when the answer has one of these statuses; the connection must then end."""
    with Client(port) as client:
        client.try_send(request)
        if client.response().status not in statuses:
            return False
        client.wait_closed()
        return True


def check_only(app, path):
    """The app has seen one request, for `path`: what was sent before it did not arrive."""
    seen = eventually(lambda: app.requests, "the last request arrived")
    assert [request.target for request in seen] == [path], "a forged request reached the app"
    return seen[0]
