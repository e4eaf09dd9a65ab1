"""Every request that is no upgrade reaches the app, and its answer the client, unchanged but for what HTTP demands."""

import pytest
from support.app import Reply
from support.raw import encode


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE", "M-SEARCH", "get"])
def test_method_target_headers_and_body_arrive_unchanged(shared, method):
    app, process = shared
    headers = [
        ("Accept", "*/*"), ("Cookie", "a=1"), ("Authorization", "Basic eA=="), ("X-Empty", ""), ("X-Twice", "1"),
        ("X-Twice", "2"), ("User-Agent", "t/1"), ("Referer", "http://x/?q=ü"), ("My_Header", "underscore"),
    ]  # fmt: skip
    body = b"the \x00 body" if method not in ("GET", "get") else None
    with process.client() as client:
        answer = client.ask(method, "/a/b?c=d&e=%20", headers, body, host="shop.example")
        assert (answer.status, answer.text) == (200, "from the app")
    (request,) = app.plain()
    assert (request.method, request.target, request.body) == (method, "/a/b?c=d&e=%20", body or b"")
    assert request.header("host") == "shop.example"
    for name, _ in headers:
        assert request.all(name) == [v for n, v in headers if n == name], name
    assert request.header("x-forwarded-for") == "127.0.0.1"
    assert request.header("x-forwarded-proto") == "http"
    assert request.header("x-forwarded-host") == "shop.example"
    if body is None:
        assert request.all("content-length") in ([], ["0"]) and request.all("transfer-encoding") == []


def test_the_answer_arrives_unchanged(shared):
    app, process = shared
    headers = [
        ("Content-Type", "text/html; charset=utf-8"), ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"),
        ("ETag", '"x"'), ("X-Empty", ""), ("Location", "/next"), ("Server", "app/1"), ("My_Header", "1"),
    ]  # fmt: skip
    app.on(Reply(201, "<p>ü</p>", headers, reason="Made It"))
    with process.client() as client:
        answer = client.ask()
    assert answer.status == 201 and answer.text == "<p>ü</p>"
    for name, _ in headers:
        assert answer.all(name) == [v for n, v in headers if n == name], name


@pytest.mark.parametrize("status", [200, 301, 304, 400, 404, 418, 500, 502, 503, 599])
def test_any_status_of_the_app_is_relayed(shared, status):
    app, process = shared
    app.on(Reply(status, "" if status == 304 else "body", {"Retry-After": "7"}))
    with process.client() as client:
        for _ in range(2):
            answer = client.ask()
            assert (answer.status, answer.header("retry-after")) == (status, "7")


def test_hop_by_hop_headers_stay_on_their_hop(shared):
    app, process = shared
    app.on(
        Reply(
            200,
            "ok",
            [("Connection", "keep-alive, X-App-Hop"), ("Keep-Alive", "timeout=5"), ("X-App-Hop", "1"), ("X-End", "1")],
        )
    )
    with process.client() as client:
        answer = client.ask(
            headers=[
                ("Connection", "keep-alive, X-Client-Hop"),
                ("X-Client-Hop", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Connection", "keep-alive"),
                ("X-End", "1"),
            ]
        )
        assert answer.header("x-end") == "1"
        assert answer.all("x-app-hop") == answer.all("keep-alive") == []
        assert "x-app-hop" not in (answer.header("connection") or "").lower()
    (request,) = app.plain()
    assert request.header("x-end") == "1"
    for name in ("x-client-hop", "keep-alive", "proxy-connection", "upgrade"):
        assert request.all(name) == [], name
    assert "x-client-hop" not in (request.header("connection") or "").lower()


FORWARDING = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-For", "7.7.7.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Port", "6666"),
    ("Forwarded", "for=6.6.6.6;proto=https"),
    ("X-Real-IP", "6.6.6.6"),
]


def test_case_27_forwarding_headers_of_a_client_are_replaced(shared):
    app, process = shared
    with process.client() as client:
        client.ask(headers=FORWARDING)
    (request,) = app.plain()
    head = request.head.decode()
    for bad in ("6.6.6.6", "7.7.7.7", "evil.test", "6666"):
        assert bad not in head, head
    assert "https" not in head
    assert request.header("x-forwarded-for") == "127.0.0.1"


@pytest.mark.parametrize(
    "listed", ["close, X-Forwarded-For", "X-Forwarded-Proto, x-forwarded-host", "Host", "Content-Length"]
)
def test_case_26_a_connection_header_does_not_remove_what_the_proxy_adds(shared, listed):
    app, process = shared
    with process.client() as client:
        assert client.ask("POST", "/", {"Connection": listed}, b"body", host="shop.example").status in (200, 400)
    for request in app.plain():
        assert request.header("x-forwarded-for") == "127.0.0.1"
        assert request.header("x-forwarded-proto") == "http"
        assert request.header("x-forwarded-host") == "shop.example"
        assert (request.header("host"), request.body) == ("shop.example", b"body")


def test_case_26_sidesocket_headers_are_removed_and_other_peoples_webhooks_untouched(shared):
    app, process = shared
    theirs = [
        ("ce-type", "com.github.push"), ("ce-id", "1"), ("ce-source", "/x"), ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1"), ("webhook-signature", "v1,abc="),
    ]  # fmt: skip
    ours = [("Sidesocket-User", "root"), ("sidesocket-state", "x"), ("SIDESOCKET-ANYTHING", "x")]
    with process.client() as client:
        assert client.ask("POST", "/hook", theirs + ours, b"{}").status == 200
    (request,) = app.requests
    for name, value in theirs:
        assert request.header(name) == value
    assert "sidesocket-" not in request.head.decode().lower()


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "headers",
    [
        [("ce-type", "sidesocket.message")],
        [("CE-Type", "sidesocket.open")],
        [("Ce-Type", "sidesocket.")],
        [("ce-type", "  sidesocket.close")],
        [("ce-type", "com.example"), ("ce-type", "sidesocket.message")],
    ],
    ids=str,
)
def test_case_26_a_forged_event_is_refused(shared, method, headers):
    app, process = shared
    with process.client() as client:
        client.send(encode(method, "/ws", headers, b"forged" if method == "POST" else None))
        assert client.response().status == 403
    assert app.heads == []


def test_case_26_a_forged_event_does_not_poison_its_connection(shared):
    app, process = shared
    with process.client() as client:
        client.send(encode("POST", "/ws", {"ce-type": "sidesocket.message"}, encode("GET", "/inner")))
        assert client.response().status == 403
        client.try_send(encode("GET", "/next"))
        rest = client.rest() if client.ended else b""
        assert b"inner" not in rest
    with process.client() as client:
        client.ask(target="/later")
    assert "/inner" not in [r.target for r in app.heads]


@pytest.mark.parametrize(
    "name",
    [
        "X_Forwarded_For", "x_forwarded_proto", "X-Forwarded_Host", "Ce_Type", "ce_userid", "Ce_Userid",
        "Sidesocket_User", "sidesocket_x", "Webhook_Id", "webhook_signature", "X_Real_IP", "X-Real_IP",
        "Ce.Type", "Ce~Userid", "Ce!Connectionid", "X.Forwarded.For", "Content_Length", "Transfer.Encoding", "Content.Type",
    ],
)  # fmt: skip
def test_cases_26_and_42_names_that_collide_when_folded_are_refused(shared, name):
    app, process = shared
    with process.client() as client:
        client.send(encode(headers={name: "1"}))
        assert client.response().status == 400
    assert app.heads == []


@pytest.mark.parametrize(
    "target",
    [
        "/a%2f..%2fadmin", "//evil.test/x", "/a//b", "/a\\b", "/a|{}b", "/%00", "/..;/x", "/a/../b", "/./a", "/a?b?c",
        "/a?", "/?", "/%", "/%zz", "/a^b`c", "/'\"<>", "/a;b=c", "/~x", "/a?x=[1]&y=|", "/%E2%82%AC",
    ],
)  # fmt: skip
def test_case_28_the_app_sees_the_bytes_the_client_sent(shared, target):
    app, process = shared
    with process.client() as client:
        client.send(encode(target=target))
        status = client.response().status
    if status == 400:
        assert app.heads == []
    else:
        assert [r.target for r in app.heads] == [target]


@pytest.mark.parametrize("target", ["/\x80", "/é", "/a\x7f", "/a\x01b", "/a\tb", "/a b", "/a\x00"])
def test_case_28_bytes_that_no_target_may_hold(shared, target):
    app, process = shared
    with process.client() as client:
        client.send(encode(target=target))
        status = client.response().status
    if status == 400:
        assert app.heads == []
    else:
        # Bytes above 7F are let through by many servers; unchanged is fine.
        assert [r.target for r in app.heads] == [target] and all(ord(c) > 0x7F or 0x20 < ord(c) < 0x7F for c in target)


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "http://127.0.0.1:1/x", "ftp://x/", "evil.test:80", "x"]
)
def test_case_07_the_client_never_chooses_where_a_request_goes(shared, target):
    app, process = shared
    with process.client() as client:
        client.send(encode(target=target))
        # RFC 9112 section 3.2.2 lets a server take the absolute form; then it is the app that answers.
        assert client.response().status in (200, 400)
    for request in app.heads:
        assert request.header("x-forwarded-for") == "127.0.0.1"


@pytest.mark.parametrize("target", ["/metrics", "/v1/connections", "/healthz", "/readyz", "/v1/users/1/connections"])
def test_case_30_the_public_port_serves_nothing_of_the_control_port(shared, target):
    app, process = shared
    app.on(Reply(200, "the app's own"))
    with process.client() as client:
        assert client.ask(target=target).text == "the app's own"
    assert [r.target for r in app.plain()] == [target]
