"""Cases of ordinary requests, of publishing and of the API."""

import socket
import ssl

import pytest

from ..api import API
from ..app import Reply
from ..guard import enter
from ..net import eventually, free_port
from .quotes import EVENT_JSON, NAME, PLAIN, ask, problem, raw, shows

# Ordinary requests


@shows(
    (400, "The Host header is missing."), (400, NAME), (403, "Events of type sidesocket.* come from Sidesocket alone."),
    (400, "The body is not a valid JSON event: an event must be an object."),
    (413, "A JSON event may be at most 1048576 bytes."),
    (415, "A JSON event must not be compressed."), (415, "A JSON event must be UTF-8."),
    (404, "There is nothing at this path."), (505, "Only HTTP/1.0 and HTTP/1.1 are supported."),
)  # fmt: skip
def ordinary_requests(app, start):
    edge = start(WEBHOOK_URL="/hook", WEBHOOK_SECRET="whsec_" + "A" * 44)

    def post(headers, body=b"x"):
        return ask(edge, "POST", "/", headers, body)

    for name in ("X_Request_Id", "X-My.Header", "Ce-Type"):
        assert post({name: "com.example"})[0] == 200
    names = [post({name: "x"}) for name in ("X_Forwarded_For", "Content_Type", "Webhook.Event", "Ce_Anything")]
    assert len(set(names)) == 1
    hooks = [ask(edge, "POST", path) for path in ("/hook", "/HOOK", "/hook/", "/%68ook")]
    assert len(set(hooks)) == 1
    return [
        names[0], hooks[0],
        raw(edge, b"GET / HTTP/1.1\r\n\r\n"),
        raw(edge, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        post({"ce-type": "sidesocket.message"}),
        post(EVENT_JSON, b"[]x"), post(EVENT_JSON, b"x"),
        post(EVENT_JSON, b" " * (1 << 20) + b"{}"),
        post({**EVENT_JSON, "Content-Encoding": "gzip"}),
        post({"Content-Type": "application/cloudevents+json; charset=utf-16"}),
    ]  # fmt: skip


@shows((None, "wrong version number"))
def tls_to_a_plain_port(app, start):
    with socket.create_connection(("127.0.0.1", start().port)) as line, pytest.raises(ssl.SSLError) as error:
        ssl.create_default_context().wrap_socket(line, server_hostname="localhost")
    return [(None, str(error.value).replace("_", " ").lower())]


# Events and messages, and the API


@shows((None, '"matched":0'), (None, '"dropped":1'), (None, "Sidesocket-Broadcast not published"))
def publishing(app, start):
    edge = start(SLOW_CLIENT_ACTION="drop-newest", MAX_SEND_BUFFER_BYTES="4KiB")
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room:1"}), event="open")
    guest = enter(edge, receive_buffer=4096)

    def publish(channel, body=b"x"):
        return API(edge).want(200, "POST", f"/v1/channels/{channel}/messages", body, PLAIN).text

    nobody = publish("Room%3A1")
    assert '"matched":1' in publish("room%3A1")
    assert guest.message() == "x"

    def drop():
        text = publish("room:1", b"x" * 500_000)
        return text if '"dropped":1' in text else None

    dropped = eventually(drop, "a message is dropped")
    for value in ("room:1", "room:1 gr\xfc\xdf", "room:1 " + "x" * 9000):
        app.on(Reply(200, headers={"Sidesocket-Broadcast": value}), path="/page")
        assert ask(edge, target="/page")[0] == 200
    eventually(lambda: edge.output.count("Sidesocket-Broadcast not published") == 3, "three lines")
    return [(None, nobody), (None, dropped), (None, edge.output)]


@shows(
    (401, "The API requires the bearer token in SIDESOCKET_CONTROL_TOKEN."),
    (403, "The API needs SIDESOCKET_CONTROL_TOKEN on a listener that is not loopback."),
    (403, "Pages of other origins may not use the API."),
    (415, "A multipart form is not a message. Send the message itself as the body, as text/plain, application/json or "
          "application/octet-stream."),
    (413, "The body is too large."),
)  # fmt: skip
def the_api(app, start):
    path = "/v1/channels/a/messages"
    by_name = {"Host": "sidesocket:9090"}
    locked, local = start(CONTROL_TOKEN="right"), start()
    port = free_port()
    shared = start(wait=False, CONTROL_LISTEN=f"0.0.0.0:{port}")
    shared.control_port = port
    eventually(lambda: shared.readyz()[0] == 200, "it is ready")
    API(locked, "right").want(200, "GET", "/v1/connections", headers=by_name)
    return [
        problem(API(locked, "wrong").ask("GET", "/v1/connections")),
        problem(API(shared).ask("GET", "/v1/connections")),
        problem(API(local).ask("GET", "/v1/connections", headers=by_name)),
        problem(API(local).ask("POST", path, b"x", {"Content-Type": "multipart/form-data; boundary=x"})),
        problem(API(local).ask("POST", path, b"x" * ((1 << 20) + 1), PLAIN)),
    ]
