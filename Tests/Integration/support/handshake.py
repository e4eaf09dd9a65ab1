"""Handshakes as bytes, and what a refusal of Sidesocket looks like."""

from .raw import encode
from .ws import handshake_headers


def refused(answer, *statuses):
    """Checks an answer that Sidesocket itself gives to an upgrade: the status and one plain sentence."""
    assert answer.status in statuses, f"{answer.status} {answer.text}"
    assert answer.header("content-type").startswith("text/plain")
    assert 0 < len(answer.text.strip()) < 300 and len(answer.text.strip().splitlines()) == 1
    return answer


def refuse(shared, data, *statuses):
    """Sends `data`, wants one refusal, the end of the connection and nothing at the app."""
    app, process = shared
    with process.client() as client:
        client.send(data)
        answer = refused(client.response(), *statuses)
        client.wait_closed()
    assert app.heads == []
    return answer


def upgrade(method="GET", target="/ws", version="HTTP/1.1", host="sidesocket.test", more=(), body=None, **replace):
    return encode(method, target, handshake_headers(**replace) + list(more), body, host, version)
