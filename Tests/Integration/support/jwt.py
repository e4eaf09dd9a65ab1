"""What the tests of JWT share: settings, and handshakes that have to be refused or accepted."""

import http.client
import time

from .guard import check_refused, counted, enter, fresh, knock
from .net import PATIENCE, eventually
from .tokens import SECRET, bearer, leaks

REFUSED = ("handshakes_total", {"result": "auth"}, 1)
HMAC = {"AUTH": "required", "JWT_KEY": SECRET, "JWT_ALGORITHMS": "HS256"}
QUICK = {**HMAC, "JWT_LEEWAY": "1s", "JWT_SOURCES": "authorization,message"}
USER = "ce-userid"


def refuse(pair, token=None, **handshake):
    """Wants 401, one count and nothing at the app."""
    app, process = fresh(pair)
    if token is not None:
        handshake["headers"] = bearer(token)
    with counted(process, REFUSED):
        answer = check_refused(knock(process, **handshake), 401)
    assert answer.header("www-authenticate").startswith("Bearer")
    assert app.heads == [] and not leaks(answer.text)


def allow(pair, token=None, user="alice", **handshake):
    """Wants 101 and the user in the open event, which it returns."""
    app, process = fresh(pair)
    if token is not None:
        handshake["headers"] = bearer(token)
    enter(process, **handshake)
    opening = app.wait_events(1, "open")[0]
    assert opening.header(USER) == user
    return opening


def offer(*entries):
    return {"protocol": ", ".join(entries)}


def now():
    return int(time.time())


def api(edge, connection, token):
    """Renews the token of a connection through the API; returns the status."""
    client = http.client.HTTPConnection("127.0.0.1", edge.control_port, timeout=PATIENCE)
    try:
        client.request("POST", f"/v1/connections/{connection}/token", body=token)
        answer = client.getresponse()
        assert not leaks(answer.read().decode())
        return answer.status
    finally:
        client.close()


def outlive(socket, moment):
    """Watches that the socket is open until half a second after `moment`, which only time can tell."""
    eventually(lambda: socket.barrier() or time.time() > moment + 0.5, "the time is over", interval=0.05)
