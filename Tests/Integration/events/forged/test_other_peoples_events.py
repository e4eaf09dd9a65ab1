"""Events in JSON that are somebody else's pass byte for byte."""

import socket

import pytest
from support.app import App, Reply
from support.forgery import BATCH, ONE, REQUIRED, MiB, answers, event, sidecar
from support.net import PATIENCE
from support.raw import Client, close_clients, encode

OTHER_PEOPLES = {
    "plain": event('"type":"com.example.order"'),
    "escapes elsewhere": event('"type":"com.example"', before=r'"subject":"\u0073idesocket.\ud83c\udf89\/\b\n\"\\",'),
    "numbers of every size": event('"type":"com.example"', after=',"data":[1e400,-0,0.1e-7,' + "9" * 300 + "]"),
    "unicode": event('"type":"com.exämple.🎉"', before='"тема":"\u2028ẞ",'),
    "blanks": b' \r\n\t{ "type" : "com.example" ,\n' + REQUIRED.encode() + b"}\n",
    "our name in the data": event('"type":"com.example"', after=',"data":{"type":"sidesocket.message"}'),
    "our name in a string of JSON": event('"type":"com.example"', after=r',"data":"{\"type\":\"sidesocket.message\"}"'),
    "our name further back": event('"type":"com.sidesocket.message"'),
    "a name like ours": event('"type":"sidesockets.message"'),
    "our name elsewhere": event('"type":"com.example"', before='"subject":"sidesocket.message","typ":"sidesocket.",'),
    "base64": event('"type":"com.example"', after=',"data_base64":"AP8="'),
    "version 0.3": event('"type":"com.example"', after=',"datacontentencoding":"base64","data":"AP8="').replace(
        b'"1.0"', b'"0.3"'
    ),
    "a batch": b"[" + event('"type":"com.example"') + b", " + event('"type":"com.example.2"') + b"]",
    "an empty batch": b" [ ] ",
}


@pytest.fixture(scope="module")
def exact_pair():
    """An app that notes every byte, and a sidecar before it."""
    app = App()
    app.on(Reply(200, "taken"))
    process = sidecar(app.url)
    yield app, process
    close_clients()
    process.check_alive()
    process.kill()
    app.stop()
    assert app.faults == [], "the app was sent bad HTTP"


@pytest.fixture
def exact(exact_pair):
    app, _ = exact_pair
    app.reset_script()
    return exact_pair


@pytest.mark.parametrize("name", OTHER_PEOPLES)
def test_case_43_somebody_elses_event_passes_byte_for_byte(exact, name):
    app, process = exact
    body = OTHER_PEOPLES[name]
    kind = (BATCH if body.lstrip().startswith(b"[") else ONE) + "; charset=UTF-8"
    fields = {"Content-Type": kind, "Webhook-Signature": "v1,theirs", "Authorization": "Bearer x", "X-Other": "a  b"}
    assert answers(process.port, encode("POST", "/events?a=b%20c", fields, body)).status == 200
    chunked = {**fields, "Transfer-Encoding": "chunked"}
    for size in (1, 7, len(body)):
        parts = [body[i : i + size] for i in range(0, len(body), size)]
        data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nX-Sum: 1\r\n\r\n"
        assert answers(process.port, encode("POST", "/events?a=b%20c", chunked) + data).status == 200
    assert len(app.requests) == 4
    for request in app.requests:
        assert request.body == body and request.target == "/events?a=b%20c"
        for field, value in fields.items():
            assert request.header(field) == value


def test_case_43_somebody_elses_events_pass_when_pipelined(exact):
    app, process = exact
    bodies = [event('"type":"com.example"', before=f'"n":{n},') for n in range(20)]
    with Client(process.port) as client:
        client.send(b"".join(encode("POST", f"/{n}", {"Content-Type": ONE}, body) for n, body in enumerate(bodies)))
        assert [client.response().status for _ in bodies] == [200] * 20
        assert client.ask("GET", "/last").status == 200
    assert [request.body for request in app.requests] == [*bodies, b""]
    assert [request.target for request in app.requests] == [*(f"/{n}" for n in range(20)), "/last"]


def test_case_43_who_waits_to_be_told_to_go_on_is_told(exact):
    app, process = exact
    for body, status in ((event('"type":"com.example"'), 200), (event(), 403)):
        with Client(process.port) as client:
            fields = {"Content-Type": ONE, "Expect": "100-continue", "Content-Length": str(len(body))}
            client.send(encode("POST", "/", fields))
            assert client.head().status == 100
            client.send(body)
            assert client.response().status == status
    assert [request.body for request in app.requests] == [event('"type":"com.example"')]


def test_case_43_a_body_that_is_too_large_is_refused_before_it_is_sent(exact):
    app, process = exact
    with Client(process.port) as client:
        client.send(
            encode("POST", "/", {"Content-Type": ONE, "Expect": "100-continue", "Content-Length": str(MiB + 1)})
        )
        answer = client.response()
        assert answer.status == 413 and answer.informational == []
        client.wait_closed()
    assert app.requests == []


def test_case_43_a_client_that_goes_away_within_the_body_leaves_nothing_behind(exact):
    app, process = exact
    for _ in range(5):
        with Client(process.port) as client:
            client.send(encode("POST", "/", {"Content-Type": ONE, "Content-Length": "1000"}) + event()[:30])
            client.sock.shutdown(socket.SHUT_WR)
            client.sock.settimeout(PATIENCE)
            client.rest()
    assert answers(process.port, encode("POST", "/after", {"Content-Type": ONE}, event('"type":"x"'))).status == 200
    assert [request.target for request in app.requests] == ["/after"]


def test_case_43_other_bodies_may_be_of_any_size(exact):
    app, process = exact
    body = b"x" * (2 * MiB)
    for kind in ("application/json", "application/event+json", "application/octet-stream"):
        assert answers(process.port, encode("POST", "/", {"Content-Type": kind}, body)).status == 200
    assert [request.body for request in app.requests] == [body] * 3
