"""Members of channels, and requests that publish to them."""

import json
from urllib.parse import parse_qs, urlencode, urlsplit

from .app import Reply

TEXT = {"Content-Type": "text/plain"}
ROOM = "/v1/channels/room/messages"
# Python would close a socket that no variable holds.
kept = []


def admit(request):
    """The app's answer to `open`: `/ws?user=42&join=room:1,room:2`."""
    asked = parse_qs(urlsplit(request.target).query)
    names = {"user": "Sidesocket-User", "join": "Sidesocket-Subscribe"}
    # The bytes of UTF-8, one by one, as a header has them.
    return Reply(204, headers={names[k]: v[0].encode().decode("latin-1") for k, v in asked.items() if k in names})


def member(app, edge, **query):
    """A socket, and its id: `member(app, edge, user="42", join="room:1,room:2")`."""
    how = {"receive_buffer": query.pop("receive_buffer", None)}
    socket = edge.websocket(f"/ws?{urlencode(query)}", **how)
    kept.append(socket)
    return socket, app.events("open")[-1].header("ce-connectionid")


def post(api, path, body, status=200, **headers):
    return api.want(status, "POST", path, body, {**TEXT, **{n.replace("_", "-"): v for n, v in headers.items()}})


def batch(api, *items, status=200):
    return api.want(status, "POST", "/v1/messages", json.dumps(items)).json
