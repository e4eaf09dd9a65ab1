"""Fixtures of the client protocol's tests: both encodings, and clients of them."""

import json

import pytest
from support.api import API
from support.app import Reply
from support.protocol import ENCODINGS, ProtocolClient
from support.publishing import admit


def obey(request):
    """The app's answer to a message that says what to answer: `{"status":200,"type":…,"body":…,"headers":{…}}`.

    A `body` that is a string is sent as it is, any other as JSON; anything else is echoed.
    """
    order = json.loads(request.body) if request.header("content-type") == "application/json" else None
    if not isinstance(order, dict) or "answer" not in order:
        return Reply(200, request.body, {"Content-Type": request.header("content-type")})
    order = order["answer"]
    body = order.get("body", "")
    if "hex" in order:
        body = bytes.fromhex(order["hex"])
    elif not isinstance(body, str):
        body = json.dumps(body)
    headers = dict(order.get("headers", {}))
    if "type" in order:
        headers["Content-Type"] = order["type"]
    return Reply(order.get("status", 200), body, headers)


@pytest.fixture(params=ENCODINGS, ids=["json", "msgpack"])
def encoding(request):
    return request.param


@pytest.fixture
def script(app):
    app.on(obey, event="message")
    app.on(admit, event="open")
    return app


@pytest.fixture
def client(script, edge, encoding):
    """A function that makes clients of the sidecar."""
    return lambda target="/ws", **how: ProtocolClient(edge, target, protocol=encoding, **how)


@pytest.fixture
def api(script, edge):
    return API(edge)
