"""Nobody forges an event by header names that an app takes for reserved ones."""

from support.forgery import ONE, answers, check_only, event, is_refused
from support.net import eventually
from support.raw import encode
from support.sse import EventStream

# Every character of a name that is no letter, digit or `-` (RFC 9110 §5.6.2).
SEPARATORS = "_.~!#$%&'*+^`|"
# Which of them the app itself, or the server that runs it, turns into the `_` of a CGI variable.
TAKES = {
    "php": set("_."), "php-fpm": set("_."), "lighttpd": set(SEPARATORS), "gunicorn": set("_"), "rails": set("_"),
    "express": set(),
}  # fmt: skip
RESERVED = {
    "Ce-Userid": "admin", "Ce-Connectionid": "Zk3", "Ce-Claimrole": "admin", "Webhook-Id": "Zk3-2",
    "Webhook-Signature": "v1,x", "Sidesocket-User": "admin", "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.test", "X-Real-Ip": "10.0.0.1",
    "Cf-Connecting-Ip": "10.0.0.1", "True-Client-Ip": "10.0.0.1", "Content-Length": "3",
    "Transfer-Encoding": "chunked",
}  # fmt: skip
FORGED = [
    *[(f"Ce{separator}Type", "sidesocket.message") for separator in SEPARATORS],
    *[(name.replace("-", separator), value) for name, value in RESERVED.items() for separator in "_.~!"],
    ("cE.tYPE", "sidesocket.message"),
    ("X-Forwarded.For", "10.0.0.1"),
    ("X.Forwarded-For", "10.0.0.1"),
    ("X_Forwarded~For", "10.0.0.1"),
    ("x|real-ip", "10.0.0.1"),
]
HONEST = {"X-Custom.Name": "kept", "X_Request~Id": "kept", "Cell.Type": "kept", "Ce-Type": "com.example.order"}


def test_the_app_itself_takes_such_names_for_reserved_ones(pair):
    app, _ = pair
    taken = set()
    for separator in SEPARATORS:
        app.forget()
        fields = {f"Ce{separator}Type": "sidesocket.message", "Connection": "close"}
        answers(app.port, encode("POST", "/direct", fields, b"x"))
        if any(request.header("Ce-Type") == "sidesocket.message" for request in app.requests):
            taken.add(separator)
    assert taken == TAKES[app.name]


def check_honest_requests_pass(app, process):
    answer = answers(process.port, encode("POST", "/after", HONEST, b"body"))
    assert answer.status == 204
    seen = check_only(app, "/after")
    assert seen.header("Ce-Type") == "com.example.order" and seen.body == b"body"
    return seen


def test_case_42_a_request_with_such_a_name_is_refused(pair):
    app, process = pair
    let_through = []
    for name, value in FORGED:
        if not is_refused(process.port, encode("POST", "/forged", {name: value}), 400):
            let_through.append(name)
    assert let_through == []
    seen = check_honest_requests_pass(app, process)
    if app.name == "express":
        assert seen.names["x-custom.name"] == seen.names["x_request~id"] == seen.names["cell.type"] == "kept"


def test_case_42_a_handshake_with_such_a_name_is_refused(pair):
    app, process = pair
    let_through = []
    for name, value in FORGED:
        client = process.try_websocket("/ws", headers={name: value})
        if client.answer.status != 400:
            let_through.append(name)
        client.sock.close()
    assert let_through == []
    client = process.websocket("/ws", headers={"X-Custom.Name": "kept"})
    genuine = check_only(app, "/ws")
    assert genuine.header("Ce-Type") == "sidesocket.open" and genuine.header("Ce-Connectionid") not in (None, "Zk3")
    client.sock.close()
    eventually(lambda: len(app.requests) == 2, "the close event arrived")


def test_case_42_a_request_for_an_event_stream_with_such_a_name_is_refused(pair):
    app, process = pair
    let_through = []
    for name, value in FORGED[:: 3 if app.name != "php" else 1]:
        stream = EventStream(process.port, headers={name: value})
        if stream.status != 400:
            let_through.append(name)
        stream.close()
    assert let_through == []
    stream = EventStream(process.port, headers={"X-Custom.Name": "kept"})
    assert stream.status == 200
    assert check_only(app, "/events").header("Ce-Type") == "sidesocket.open"
    stream.close()
    eventually(lambda: len(app.requests) == 2, "the close event arrived")


def test_case_42_a_trailer_with_such_a_name_is_refused(pair):
    app, process = pair
    let_through = []
    for name, value in FORGED[:: 3 if app.name != "express" else 1]:
        head = encode("POST", "/forged", {"Transfer-Encoding": "chunked", "Trailer": name})
        if not is_refused(process.port, head + f"1\r\nx\r\n0\r\n{name}: {value}\r\n\r\n".encode(), 400):
            let_through.append(name)
    assert let_through == []
    # A reserved name in its exact form is dropped; others reach an app that reads trailers.
    head = encode("POST", "/after", {"Transfer-Encoding": "chunked", "Trailer": "Ce-Type, X-Sum.Of"})
    assert answers(process.port, head + b"1\r\nx\r\n0\r\nCe-Type: x.y\r\nX-Sum.Of: 1\r\n\r\n").status == 204
    seen = check_only(app, "/after")
    assert seen.header("Ce-Type") is None and seen.body == b"x"
    if app.name == "express":
        assert seen.trailers == {"x-sum.of": "1"}


def test_case_42_a_trusted_proxy_passes_no_such_name_on_either(app, sidesocket):
    edge = sidesocket(app, TRUSTED_PROXIES="loopback", CLIENT_IP_HEADER="cf-connecting-ip")
    for name in ("X.Forwarded.For", "X_Forwarded_For", "Cf.Connecting.Ip", "Ce_Type"):
        assert answers(edge.port, encode("GET", "/", {"Cf-Connecting-Ip": "10.0.0.1", name: "10.0.0.2"})).status == 400
    assert answers(edge.port, encode("GET", "/after", {"Cf-Connecting-Ip": "10.0.0.1"})).status == 200
    assert [request.target for request in app.requests] == ["/after"]


def test_case_42_the_refusal_is_a_sentence_and_counted_without_the_name(app, sidesocket):
    edge = sidesocket(app)
    answer = answers(edge.port, encode("POST", "/", {"Ce.Type": "sidesocket.message"}))
    assert answer.status == 400 and answer.header("content-type").startswith("text/plain")
    assert len(answer.text.strip().splitlines()) == 1
    edge.wait_metric("http_refused_total", 1, reason="reserved_header")
    assert "Ce.Type" not in edge.control("/metrics")[2]


def test_case_42_the_type_of_the_body_cannot_be_imitated(pair):
    """Frameworks read HTTP_CONTENT_TYPE too, and an event in JSON would come along unchecked."""
    app, process = pair
    requests = {
        separator: [("Content-Type", "text/plain"), (f"Content{separator}Type", ONE), ("Connection", "close")]
        for separator in "_."
    }
    taken = set()
    for separator, fields in requests.items():
        app.forget()
        answers(app.port, encode("POST", "/direct", fields, event()))
        if app.requests[0].names.get("HTTP_CONTENT_TYPE") == ONE:
            taken.add(separator)
    # With PHP-FPM, `Content.Type` loses to the genuine one.
    assert taken == (TAKES[app.name] & set("_.")) - (set(".") if app.name == "php-fpm" else set())
    app.forget()
    for separator, fields in requests.items():
        assert is_refused(process.port, encode("POST", "/forged", fields, event()), 400), separator
    assert app.requests == []
