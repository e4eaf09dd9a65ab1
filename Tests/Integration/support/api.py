"""Calls of the API on the control listener, and what its answers have in common."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from .app import Reply
from .net import PATIENCE

TOKEN = "s3cret-token"


@dataclass
class Answer:
    """An answer of the API; `json` is its body parsed, or None without one."""

    status: int
    headers: object
    text: str

    @property
    def json(self):
        return json.loads(self.text) if self.text else None


class API:
    """The API of one sidecar; with `tls`, an SSLContext, it is called over TLS."""

    def __init__(self, edge, token=None, port=None, tls=None, timeout=PATIENCE):
        self.port, self.token, self.tls, self.timeout = port or edge.control_port, token, tls, timeout

    def ask(self, method, path, body=None, headers=None, **query):
        """Calls `path`, in which a value must be quoted already; `query` is quoted here."""
        if self.tls:
            line = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=self.timeout, context=self.tls)
        else:
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        given = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        try:
            full = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
            line.request(method, full, body, {**given, **(headers or {})})
            answer = line.getresponse()
            return Answer(answer.status, answer.headers, answer.read().decode())
        finally:
            line.close()

    def want(self, status, method, path, body=None, headers=None, **query):
        """A call that must be answered so; a refusal must be a problem."""
        answer = self.ask(method, path, body, headers, **query)
        assert answer.status == status, f"{method} {path} {query}: {answer.status} {answer.text}"
        if status >= 400:
            check_problem(answer)
        elif status == 204:
            assert answer.text == ""
        else:
            assert answer.headers["content-type"].startswith("application/json")
        return answer

    def connections(self, **query):
        return self.want(200, "GET", "/v1/connections", **query).json["connections"]

    def ban(self, kind, value, status=201, **query):
        return self.want(status, "PUT", ban_path(kind, value), **query).json

    def bans(self):
        """The values of all bans, in order."""
        return sorted(ban["value"] for ban in self.want(200, "GET", "/v1/bans").json["bans"])


def ban_path(kind, value):
    return f"/v1/bans/{kind}/{quote(value, safe='')}"


def check_problem(answer):
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    assert answer.json["status"] == answer.status
    assert answer.json["title"] or answer.json["detail"]


def named(request):
    """The app's answer to `open` that lets the client say who it is: `/ws?user=42`."""
    user = parse_qs(urlsplit(request.target).query).get("user")
    return Reply(204, headers={"Sidesocket-User": user[0]} if user else {})
