"""What docs/troubleshooting.md quotes, and what the cases share that provoke it."""

import re

from ..guard import knock
from ..net import eventually
from ..process import ROOT

PAGE = "docs/troubleshooting.md"
PAGES = [PAGE, "docs/upgrading.md", "SECURITY.md"]
SECRET = "k" * 32
PLAIN = {"Content-Type": "text/plain"}
EVENT_JSON = {"Content-Type": "application/cloudevents+json"}
NAME = "A header name imitates a reserved one: write it with hyphens, or choose another."


# What the page quotes


def quotes():
    """What the first columns quote, as (status or close code before it, or None; words)."""
    found = set()
    for line in (ROOT / PAGE).read_text().splitlines():
        if not line.startswith("| "):
            continue
        code = None
        # 401 `one`, `another`, 403 `a third` and `what has no code`
        for number, comma, words in re.findall(r"(?:\b(\d{3,4}) |(, ))?`([^`]+)`", line.split(" | ")[0]):
            code = int(number) if number else code if comma else None
            # A single word is a name, such as that of a header.
            if " " in words or words.startswith('"'):
                found.add((code, words))
    return found


def is_quoted(pair):
    """True for what a first column quotes, and for a line of the log that the page quotes anywhere."""
    return pair in quotes() or pair[0] is None and f"`{pair[1]}`" in (ROOT / PAGE).read_text()


# Each case shows some of that: a function of (app, start) that returns what it has seen, as pairs like those, where
# the text without a code is whatever was printed. `start` starts a sidecar before the app.
CASES = {}


def shows(*pairs):
    def register(function):
        CASES[function.__name__] = (function, set(pairs))
        return function

    return register


def answer(got):
    """An answer as a pair."""
    got = getattr(got, "answer", got)
    return got.status, got.text.strip()


def problem(got):
    """An answer of the API as a pair."""
    return got.status, got.json["detail"] if got.status >= 400 else got.text


def closed(guest):
    end = guest.expect_close(skip_messages=True)
    return end.code, end.reason


def said(edge, *words):
    """All that it has printed, when these words are among it."""
    eventually(lambda: all(one in edge.output for one in words), lambda: f"{words} in:\n{edge.output}")
    return None, edge.output


def ask(edge, *arguments, **more):
    with edge.client() as client:
        return answer(client.ask(*arguments, **more))


def raw(edge, data):
    with edge.client() as client:
        client.send(data)
        return answer(client.response())


def after(reply, edge, app, event="message"):
    """How a connection ends whose message (or `open`) the app answers so."""
    app.on(reply, event=event)
    guest = knock(edge)
    if guest.status != 101:
        return answer(guest)
    guest.text("x")
    return closed(guest)
