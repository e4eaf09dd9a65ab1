"""CLIENT_SCRIPT: the client for browsers, from the binary."""

import gzip

import pytest
from support.process import ROOT
from support.raw import Client

SCRIPT = (ROOT / "Sources/SidecarServer/Client/Script/sidesocket.min.js").read_bytes()
PATH = "/sidesocket.js"


@pytest.fixture
def edge(script, sidesocket):
    return sidesocket(script, CLIENT_SCRIPT=PATH)


def test_a_browser_gets_it_once(script, edge):
    with Client(edge.port) as browser:
        first = browser.ask(target=PATH)
        assert (first.status, first.body) == (200, SCRIPT)
        assert first.header("content-type") == "text/javascript; charset=utf-8"
        assert first.header("cache-control") == "no-cache"
        assert first.header("vary") == "Accept-Encoding"
        assert first.header("access-control-allow-origin") == "*"
        assert f"version {first.header('sidesocket-client-version')} */".encode() in SCRIPT[:100]
        tag = first.header("etag")
        again = browser.ask(target=f"{PATH}?x=1", headers=[("If-None-Match", f'"other", W/{tag}')])
        assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
        # A connection goes on with requests for the app.
        browser.ask(target="/page")
    assert [request.target for request in script.plain()] == ["/page"]


def test_compressed_for_those_who_ask_for_it(edge):
    with Client(edge.port) as browser:
        plain = browser.ask(target=PATH, headers=[("Accept-Encoding", "br, deflate")])
        packed = browser.ask(target=PATH, headers=[("Accept-Encoding", "br, gzip, deflate")])
        assert packed.header("content-encoding") == "gzip" and plain.header("content-encoding") is None
        assert gzip.decompress(packed.body) == plain.body == SCRIPT
        # The two forms are not taken for each other.
        tags = [answer.header("etag") for answer in (plain, packed)]
        assert tags[0] != tags[1]
        headers = [("If-None-Match", tags[0]), ("Accept-Encoding", "gzip")]
        assert browser.ask(target=PATH, headers=headers).status == 200


def test_head_has_the_fields_and_nothing_else(edge):
    with Client(edge.port) as browser:
        head = browser.ask("HEAD", PATH)
        assert (head.status, head.header("content-length"), head.body) == (200, str(len(SCRIPT)), b"")
        assert browser.ask("HEAD", PATH).status == 200


@pytest.mark.parametrize("method, target", [("POST", PATH), ("GET", f"{PATH}/"), ("GET", "/Sidesocket.js")])
def test_other_requests_are_the_apps(script, edge, method, target):
    with Client(edge.port) as browser:
        browser.ask(method, target, body=b"" if method == "POST" else None)
    assert [(request.method, request.target) for request in script.plain()] == [(method, target)]


def test_without_the_setting_it_is_the_apps(script, sidesocket):
    with Client(sidesocket(script).port) as browser:
        browser.ask(target=PATH)
    assert [request.target for request in script.plain()] == [PATH]


def test_a_client_that_closes_gets_all_of_it(edge):
    with Client(edge.port) as browser:
        answer = browser.ask(target=PATH, headers=[("Connection", "close")])
        assert (answer.body, answer.header("connection")) == (SCRIPT, "close")
        browser.wait_closed()


def test_a_client_that_does_not_wait_for_its_responses_gets_one(edge):
    with Client(edge.port) as browser:
        browser.send(f"GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        answer = browser.response()
        assert (answer.status, answer.body, answer.header("connection")) == (200, SCRIPT, "close")
        browser.wait_closed()
