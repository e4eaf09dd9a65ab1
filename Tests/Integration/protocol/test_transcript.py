"""The example of a conversation in docs/protocol.md is what happens."""

import re

from support.api import API
from support.app import Reply
from support.net import eventually
from support.polling import PollClient
from support.process import ROOT
from support.protocol import ProtocolClient, lose
from support.publishing import TEXT

VALUE = r'("[^"]*"|[0-9]+)'


class Conversation:
    """Does what the lines say that clients, app and network do, and expects what they say of the server."""

    def __init__(self, edge):
        self.edge, self.connection, self.target = edge, None, None
        # The last value of each member that the transcript leaves out.
        self.known = {}

    def fill(self, text):
        return re.sub(r'"(\w+)":…', lambda found: f'"{found[1]}":{self.known[found[1]]}', text)

    def do(self, line):
        who, what = re.fullmatch(r"(client|server|app|network) +(.+)", line).groups()
        getattr(self, who)(what)

    def client(self, what):
        if request := re.fullmatch(r"GET (\S+) HTTP/1\.1", what):
            self.target = request[1]
        elif offer := re.fullmatch(r"Sec-WebSocket-Protocol: (.+)", what):
            names = offer[1].replace("TOKEN", self.known.get("resume", "").strip('"'))
            self.connection = ProtocolClient(self.edge, self.target, protocol=names, greet=False)
            assert self.connection.chosen == "sidesocket.v1.json"
        else:
            self.connection.text(self.fill(what))

    def server(self, what):
        names = re.findall(r'"(\w+)":…', what)
        pattern = re.escape(what).replace("…", VALUE)
        got = self.connection.message()
        found = re.fullmatch(pattern, got)
        assert found, f"\n{got}\n{what}"
        self.known |= dict(zip(names, found.groups()))

    def app(self, what):
        text, channel = re.fullmatch(r'publishes "(.+)" to (\w+)', what).groups()
        API(self.edge).want(200, "POST", f"/v1/channels/{channel}/messages", text, TEXT)

    def network(self, what):
        assert what == "the connection is lost before the reply"
        # The reply is under way, so it has its number.
        assert '"type":"reply"' in self.connection.message()
        lose(self.connection)


def reply(request):
    if request.header("ce-messagetype") == "nothing":
        return Reply(204)
    return Reply(200, request.body, {"Content-Type": "application/json"})


def test_the_example(script, sidesocket):
    script.on(reply, event="message")
    text = (ROOT / "docs/protocol.md").read_text()
    lines = re.search(r"```transcript\n(.+?)```", text, re.DOTALL)[1].splitlines()
    conversation = Conversation(sidesocket(script, HISTORY_SIZE="100"))
    for line in lines:
        conversation.do(line)
    assert len(lines) > 20
    bodies = [event.body for event in script.events("message")]
    assert bodies == [b'{"text":"hi"}', b'{"text":"bye"}', b"null"]


class Polls:
    """The same over HTTP: a POST is sent with its line, and answered with a later one."""

    def __init__(self, edge):
        self.edge, self.token, self.posts = edge, None, []

    def do(self, line):
        who, what = re.fullmatch(r"(client|server|app) +(.+)", line).groups()
        getattr(self, who)(what)

    def client(self, what):
        target, body = re.fullmatch(r"POST (\S+) (.+)", what).groups()
        body = body.replace('"5f0c…"', '"5f0c5f0c5f0c5f0c"').replace("TOKEN", f'"{self.token}"')
        number = int(re.search(r'"n":(\d+)', body)[1])
        self.posts.append((number, PollClient(self.edge, target).post(body.encode())))

    def server(self, what):
        if old := re.fullmatch(r"204 to n=(\d+)", what):
            number, post = self.posts.pop(0)
            assert number == int(old[1]) and post.wait().status == 204
            return
        _, post = self.posts.pop(0)
        names = re.findall(r'"(\w+)":…', what)
        found = re.fullmatch(re.escape(what.removeprefix("200 ")).replace("…", VALUE), post.wait().body.decode())
        assert found, f"\n{post.answer.body.decode()}\n{what}"
        values = dict(zip(names, found.groups()))
        self.token = values["resume"].strip('"') if "resume" in values else self.token

    def app(self, what):
        Conversation(self.edge).app(what)


def test_the_example_over_http(script, sidesocket):
    text = (ROOT / "docs/protocol.md").read_text()
    lines = re.search(r"```transcript-http\n(.+?)```", text, re.DOTALL)[1].splitlines()
    polls = Polls(sidesocket(script, HISTORY_SIZE="100", HTTP_PATHS="/http"))
    for line in lines:
        polls.do(line)
    assert len(lines) > 10 and polls.posts == []
    eventually(lambda: script.events("close"), "the session has ended")
