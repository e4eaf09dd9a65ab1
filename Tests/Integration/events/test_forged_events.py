"""Nobody forges an event: by a header's name, by an event in JSON, or by a path that leads to the webhook.

What counts is what the application understands, so the apps here are real servers and frameworks. Each kind of
forgery is first sent to the app itself, which takes it for genuine, and then to Sidesocket before it.
"""

import contextlib
import gzip
import socket

import pytest
from support.app import App, Reply
from support.net import PATIENCE, eventually
from support.process import Sidesocket
from support.raw import Client, close_clients, encode
from support.real_apps import RealApp
from support.sse import EventStream

# Real apps

NAMES = ["php", "php-fpm", "lighttpd", "gunicorn", "rails", "express"]


@pytest.fixture(scope="module")
def real_apps(tmp_path_factory):
    """Gives a real app by name. All start at once, since some take a second; a missing program skips its tests."""
    apps, missing = {}, {}
    for name in [*NAMES, "flask"]:
        try:
            apps[name] = RealApp(name, tmp_path_factory.mktemp(name))
        except pytest.skip.Exception as reason:
            missing[name] = reason
    for app in apps.values():
        # One that does not start fails its own tests below.
        with contextlib.suppress(AssertionError):
            app.wait_ready()

    def get(name):
        if name in missing:
            raise missing[name]
        return apps[name].wait_ready()

    yield get
    for app in apps.values():
        app.stop()


def sidecar(url, **settings):
    settings = {"APP_URL": url, "WS_PATHS": "/ws", "SSE_PATHS": "/events", "WEBHOOK_RETRY_FOR": "off", **settings}
    return Sidesocket(**settings)


def serve(app):
    """A sidecar before the app, as long as the tests of a fixture need it."""
    process = sidecar(app.url)
    yield app, process
    close_clients()
    process.check_alive()
    process.kill()


def fresh(pair):
    """The same for one more test, which sees no requests but its own."""
    app, process = pair
    process.check_alive()
    app.forget()
    return app, process


@pytest.fixture(scope="module", params=NAMES)
def real(request, real_apps):
    """`(app, process)`: a sidecar with default settings before a real app."""
    yield from serve(real_apps(request.param))


@pytest.fixture
def pair(real):
    return fresh(real)


def answers(port, request):
    """Sends bytes on a connection of their own and returns the answer."""
    with Client(port) as client:
        client.try_send(request)
        return client.response()


def is_refused(port, request, *statuses):
    """True when the answer has one of these statuses; the connection must then end."""
    with Client(port) as client:
        client.try_send(request)
        if client.response().status not in statuses:
            return False
        client.wait_closed()
        return True


def check_only(app, path):
    """The app has seen one request, for `path`: what was sent before it did not arrive."""
    seen = eventually(lambda: app.requests, "the last request arrived")
    assert [request.target for request in seen] == [path], "a forged request reached the app"
    return seen[0]


# 1. Header names that an app takes for reserved ones

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


# 2. Events in structured and batched JSON

ONE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
REQUIRED = '"specversion":"1.0","id":"1","source":"/x"'


def event(type_member='"type":"sidesocket.message"', before="", after=""):
    """An event as text; only what is not given is as it should be."""
    return f"{{{before}{REQUIRED},{type_member}{after}}}".encode()


# Well-formed bodies that the Python SDK, in one of its two interfaces, takes for an event of Sidesocket.
SDK_TAKES = {
    "plain": event(),
    "another event of ours": event('"type":"sidesocket.open"'),
    "type first": f'{{"type":"sidesocket.message",{REQUIRED}}}'.encode(),
    "blanks around everything": b"\r\n\t " + event('"type" \n:\t"sidesocket.message"') + b" \n",
    "an escaped letter": event(r'"type":"\u0073idesocket.message"'),
    "an escaped letter in capitals": event(r'"type":"s\u0069desoc\u006Bet.message"'),
    "an escaped dot": event(r'"type":"sidesocket\u002emessage"'),
    "everything escaped": event('"type":"%s"' % "".join(f"\\u{ord(c):04x}" for c in "sidesocket.message")),
    "an escaped key": event(r'"\u0074ype":"sidesocket.message"'),
    "a key in capitals": event('"type":"com.example","TYPE":"sidesocket.message"'),
    "an escaped key in capitals": event(r'"type":"com.example","\u0054YPE":"sidesocket.message"'),
    "among the extensions": event('"type":"com.example","extensions":{"type":"sidesocket.message"}'),
    "a batch of one": b"[" + event() + b"]",
    "the last of a batch": b"[" + event('"type":"com.example"') + b"," + event() + b"]",
    "after 200 KB": event(before='"data":"' + "x" * 200_000 + '",'),
}  # fmt: skip

# The same of bodies that a strict reader refuses, for the SDK is no strict one.
SDK_TAKES_TOO = {
    "a doubled key": event('"type":"com.example","type":"sidesocket.message"'),
    "a doubled key, one escaped": event(r'"type":"com.example","t\u0079pe":"sidesocket.message"'),
    "NaN": event(before='"x":NaN,'),
    "Infinity": event(before='"x":-Infinity,'),
    "half a surrogate pair": event(before=r'"x":"\ud800",'),
    "a number beyond every range": event(before='"x":1e999,'),
    "a long integer": event(before='"x":' + "9" * 4000 + ","),
    "deep nesting": event(before='"data":' + "[" * 500 + "]" * 500 + ","),
    "a byte order mark": b"\xef\xbb\xbf" + event(),
    "UTF-16": event().decode().encode("utf-16"),
    "UTF-16 without a mark": event().decode().encode("utf-16-le"),
    "UTF-16, the other end first": event().decode().encode("utf-16-be"),
    "UTF-32": event().decode().encode("utf-32"),
}  # fmt: skip

# Bodies that other readers might take for one: lenient ones, those that stop early, those that decode by charset.
OTHERS_TAKE = {
    "a doubled key, ours first": event('"type":"sidesocket.message","type":"com.example"'),
    "bytes behind it": event() + b" x",
    "a second value, ours": event('"type":"com.example"') + event(),
    "a second value, not ours": event() + event('"type":"com.example"'),
    "invalid UTF-8": event(before='"x":"?",').replace(b"?", b"\xff"),
    "an overlong letter": event().replace(b"sidesocket", b"\xc1\xb3idesocket"),
    "a comma too many": event(after=","),
    "a comment": event(before="/* x */"),
    "single quotes": event().replace(b'"', b"'"),
    "a line break in a string": event(before='"x":"\n",'),
    "a leading zero": event(before='"x":01,'),
    "cut off": event()[:-1],
    "a batch within a batch": b"[[" + event() + b"]]",
    "a batch cut off": b"[" + event(),
}

TYPES = [
    ("Content-Type", ONE),
    ("content-TYPE", "Application/CloudEvents+JSON"),
    ("Content-Type", f"{ONE}; charset=utf-8"),
    ("Content-Type", f'{ONE} ;  Charset="UTF-8"; x=y'),
    ("Content-Type", f"{ONE};"),
    ("Content-Type", f"{ONE}, text/plain"),
    ("Content-Type", f"text/plain, {ONE}"),
    ("Content-Type", f"{ONE}; charset=utf-7"),
    ("Content-Type", f"{ONE}; charset=utf-16"),
    ("Content-Type", BATCH),
    ("Content-Type", BATCH.upper() + "; charset=utf-8"),
]


@pytest.fixture(scope="module")
def sdk(real_apps):
    """`(app, process)`: Django with the CloudEvents SDK, and a sidecar before it."""
    yield from serve(real_apps("gunicorn"))


@pytest.fixture
def sdk_pair(sdk):
    return fresh(sdk)


def check_someone_elses_event_passes(app, process):
    answer = answers(process.port, encode("POST", "/after", {"Content-Type": ONE}, event('"type":"com.example"')))
    assert answer.status == 204
    assert "com.example" in check_only(app, "/after").events


def own_type(body):
    return BATCH if body.lstrip().startswith(b"[") else ONE


@pytest.mark.parametrize("name", [*SDK_TAKES, *SDK_TAKES_TOO])
def test_the_sdk_takes_it_for_an_event_of_ours(sdk_pair, name):
    app, _ = sdk_pair
    body = {**SDK_TAKES, **SDK_TAKES_TOO}[name]
    answers(app.port, encode("POST", "/direct", {"Content-Type": own_type(body), "Connection": "close"}, body))
    (request,) = app.requests
    assert any(type.startswith("sidesocket.") for type in request.events), request.events


@pytest.mark.parametrize("name", SDK_TAKES)
def test_case_43_a_forged_event_in_json_is_forbidden(sdk_pair, name):
    app, process = sdk_pair
    body = SDK_TAKES[name]
    own = own_type(body)
    assert is_refused(process.port, encode("POST", "/forged", {"Content-Type": own}, body), 403)
    # A batch that is called one event, or the other way round, may also be called malformed.
    other = BATCH if own == ONE else ONE
    assert is_refused(process.port, encode("POST", "/forged", {"Content-Type": other}, body), 400, 403)
    check_someone_elses_event_passes(app, process)


@pytest.mark.parametrize("name", [*SDK_TAKES_TOO, *OTHERS_TAKE])
def test_case_43_a_forged_event_in_json_that_is_none_is_refused(sdk_pair, name):
    app, process = sdk_pair
    body = {**SDK_TAKES_TOO, **OTHERS_TAKE}[name]
    for kind in (ONE, BATCH):
        assert is_refused(process.port, encode("POST", "/forged", {"Content-Type": kind}, body), 400, 403)
    check_someone_elses_event_passes(app, process)


def test_case_43_the_content_type_may_be_written_in_any_way(sdk_pair):
    app, process = sdk_pair
    let_through = []
    for name, value in TYPES:
        body = b"[" + event() + b"]" if "batch" in value.lower() else event()
        if "utf-16" in value:
            body = event().decode().encode("utf-16")
        if not is_refused(process.port, encode("POST", "/forged", {name: value}, body), 400, 403, 415):
            let_through.append((name, value))
    # Two headers: whichever the app goes by.
    for first, second in ((ONE, "text/plain"), ("text/plain", ONE), (ONE, ONE), (BATCH, ONE)):
        pairs = [("Content-Type", first), ("X-Between", "1"), ("content-type", second)]
        if not is_refused(process.port, encode("POST", "/forged", pairs, event()), 400, 403, 415):
            let_through.append((first, second))
    assert let_through == []
    check_someone_elses_event_passes(app, process)


def test_case_43_every_method_that_carries_a_body_is_checked(sdk_pair):
    app, process = sdk_pair
    for method in ("POST", "PUT", "PATCH", "DELETE", "GET", "QUERY"):
        for version in ("HTTP/1.1", "HTTP/1.0"):
            forged = encode(method, "/forged", {"Content-Type": ONE}, event(), version=version)
            assert is_refused(process.port, forged, 403), (method, version)
    check_someone_elses_event_passes(app, process)


def test_case_43_binary_mode_of_somebody_else_does_not_cover_a_forged_body(sdk_pair):
    app, process = sdk_pair
    binary = {"ce-specversion": "1.0", "ce-id": "2", "ce-source": "/y", "ce-type": "com.example", "Content-Type": ONE}
    answers(app.port, encode("POST", "/direct", {**binary, "Connection": "close"}, event()))
    (request,) = app.requests
    assert request.events == ["com.example", "sidesocket.message"]
    app.forget()
    assert answers(process.port, encode("POST", "/forged", binary, event())).status == 403
    check_someone_elses_event_passes(app, process)


def chunks(body, size):
    return b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + size]), body[i : i + size]) for i in range(0, len(body), size))


@pytest.mark.parametrize("how", ["in one-byte chunks", "in one-byte writes", "with chunk extensions", "with a trailer"])
def test_case_43_the_body_may_come_in_any_way(sdk_pair, how):
    app, process = sdk_pair
    body = event(r'"type":"\u0073idesocket.message"')
    head = encode("POST", "/forged", {"Content-Type": ONE, "Transfer-Encoding": "chunked"})
    data = {
        "in one-byte chunks": head + chunks(body, 1) + b"0\r\n\r\n",
        "in one-byte writes": encode("POST", "/forged", {"Content-Type": ONE}, body),
        "with chunk extensions": head + chunks(body, 50).replace(b"\r\n{", b";x=y\r\n{") + b"0;x\r\n\r\n",
        "with a trailer": head + chunks(body, 50) + b"0\r\nX-Sum: 1\r\n\r\n",
    }[how]
    assert answers(app.port, data).status == 204
    assert "sidesocket.message" in app.requests[0].events
    app.forget()
    with Client(process.port) as client:
        for part in [data] if how != "in one-byte writes" else [data[i : i + 1] for i in range(len(data))]:
            if not client.try_send(part):
                break
        assert client.response().status == 403
        client.wait_closed()
    check_someone_elses_event_passes(app, process)


def test_case_43_a_forged_event_behind_an_honest_one_on_the_same_connection(sdk_pair):
    app, process = sdk_pair
    honest = encode("POST", "/honest", {"Content-Type": ONE}, event('"type":"com.example"'))
    with Client(process.port) as client:
        client.send(honest + honest + encode("POST", "/forged", {"Content-Type": ONE}, event()) + honest)
        assert [client.response().status for _ in range(3)] == [204, 204, 403]
        client.wait_closed()
    assert [request.target for request in app.requests] == ["/honest", "/honest"]


def test_case_43_a_compressed_event_is_not_looked_into_and_refused(sdk_pair):
    app, process = sdk_pair
    for coding in ("gzip", "GZIP", "br", "deflate", "identity, gzip", "x-gzip"):
        head = {"Content-Type": ONE, "Content-Encoding": coding}
        assert is_refused(process.port, encode("POST", "/forged", head, gzip.compress(event())), 415), coding
    pairs = [("Content-Type", ONE), ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]
    assert answers(process.port, encode("POST", "/forged", pairs, gzip.compress(event()))).status == 415
    # Nothing else that is compressed is affected.
    head = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert answers(process.port, encode("POST", "/after", head, gzip.compress(b"{}"))).status == 204
    assert check_only(app, "/after").body == gzip.compress(b"{}")


MiB = 1 << 20


def someone_elses(size):
    """An event of somebody else, so many bytes long."""
    length = len(event('"type":"com.example"', before='"data":"",'))
    return event('"type":"com.example"', before='"data":"' + "x" * (size - length) + '",')


@pytest.mark.parametrize("framing", ["length", "chunked", "one large chunk"])
def test_case_43_more_than_a_mebibyte_is_413(sdk_pair, framing):
    app, process = sdk_pair
    body = someone_elses(MiB + 1)
    with Client(process.port) as client:
        if framing == "length":
            # The answer comes before the body.
            client.send(encode("POST", "/large", {"Content-Type": ONE, "Content-Length": str(len(body))}))
        else:
            client.send(encode("POST", "/large", {"Content-Type": ONE, "Transfer-Encoding": "chunked"}))
            size = len(body) if framing == "one large chunk" else 65536
            for start in range(0, len(body), size):
                part = body[start : start + size]
                if not client.try_send(b"%x\r\n%s\r\n" % (len(part), part)):
                    break
        assert client.response().status == 413
    check_someone_elses_event_passes(app, process)


def test_case_43_a_mebibyte_passes(sdk_pair):
    app, process = sdk_pair
    body = someone_elses(MiB)
    assert answers(process.port, encode("POST", "/large", {"Content-Type": ONE}, body)).status == 204
    assert check_only(app, "/large").body == body


# What other people send

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


# 3. Paths that lead to a WEBHOOK_URL on the app

# What each app's own router takes for /hook, apart from that path itself.
LEADS_TO_HOOK = {
    "php": ["/hook/", "//hook", "/index.php/hook", "/%2568ook", "/%68ook", "/x/../hook", "/hook%2f", "/hook/%2e"],
    "php-fpm": ["/hook/", "//hook", "/index.php/hook", "/%2568ook", "/%68ook", "/x/../hook", "/hook%2f", "/hook/%2e"],
    "lighttpd": ["/hook/", "//hook", "/%68ook", "/x/../hook", "/hook%2f", "/hook/%2e"],
    "gunicorn": ["/hook/", "/%68ook", "/hook%2f"],
    "rails": ["/hook/", "//hook", "/hook.json", "/hook.%20"],
    "express": ["/HOOK", "/Hook/"],
}
REFUSED_PATHS = [
    "/hook", "/HOOK", "/Hook/", "/hook/", "/hook//", "//hook", "/hook;x=1", "/hook;", "/hook/;x", "/;/hook",
    "/;a=b/hook", "/hook/..;/hook", "/x/..;/hook", "/index.php/hook", "/index.php/HOOK", "/app/index.php/hook/",
    "/hook%20", "/hook%20%20", "/hook%09", "/hook%0a", "/hook%00", "/%68ook", "/%2568ook", "/%252568ook",
    "/%48%4F%4F%4B", "/hook.", "/hook..", "/hook./", "/hook.json", "/hook.%20", "/hook%2e", "/hook%252e", "/hook%2f",
    "/hook%252f", "/%2fhook", "/hook%3bx=1", "/hook%253bx", "/./hook", "/x/../hook", "/x/%2e%2e/hook",
    "/x/%252e%252e/hook", "/hook/.", "/hook/%2e", "/hook/x/..", "/%5chook", "/hook%5c", "/x/hook", "/hook?type=x",
    "/HOOK;jsessionid=1/?x", "/hook%20/", "/hook%20;x",
]  # fmt: skip
ORDINARY_PATHS = [
    "/", "/hooks", "/hook2", "/hook-2", "/hook_", "/a/hooker", "/myhook", "/my-hook", "/hookx/", "/h", "/hoo", "/ho/ok",
    "/hook/settings", "/?next=/hook", "/search?q=hook", "/x;hook", "/index.php", "/captain%20hook2",
]  # fmt: skip


@pytest.fixture(scope="module")
def hooked(real):
    app, _ = real
    process = sidecar(app.url, WEBHOOK_URL=f"{app.url}/hook")
    yield app, process
    close_clients()
    process.check_alive()
    process.kill()


@pytest.fixture
def hooked_pair(hooked):
    app, process = hooked
    process.check_alive()
    app.forget()
    return app, process


def test_the_app_itself_takes_such_paths_for_the_webhook(hooked_pair):
    app, _ = hooked_pair
    for path in ["/hook", *LEADS_TO_HOOK[app.name]]:
        app.forget()
        answers(app.port, encode("POST", path, {"Connection": "close"}, b"x"))
        assert [request.is_hook for request in app.requests] == [True], path


def test_case_44_a_path_that_an_app_takes_for_the_webhook_is_not_found(hooked_pair):
    app, process = hooked_pair
    found = []
    for number, path in enumerate(dict.fromkeys(REFUSED_PATHS + LEADS_TO_HOOK[app.name])):
        method = ("POST", "GET", "PUT")[number % 3]
        status = answers(process.port, encode(method, path, body=b"x")).status
        if status != 404:
            found.append((path, status))
    assert found == []
    answers(process.port, encode("POST", "/after", body=b"x"))
    check_only(app, "/after")
    # Sidesocket itself still gets there.
    app.forget()
    process.websocket("/ws").sock.close()
    opened, closed = eventually(lambda: (seen := app.requests)[1:] and seen, "both events arrived")
    assert opened.is_hook and closed.is_hook
    assert (opened.header("Ce-Type"), opened.header("Ce-Subject")) == ("sidesocket.open", "/ws")


def test_case_44_ordinary_paths_pass(hooked_pair):
    app, process = hooked_pair
    refused = [path for path in ORDINARY_PATHS if answers(process.port, encode("POST", path, body=b"x")).status == 404]
    assert refused == []
    assert [request.target for request in app.requests] == ORDINARY_PATHS


@pytest.mark.parametrize(("path", "prefix"), [("/x/hook", "/x"), ("/myhook", "/my")])
def test_case_44_gunicorn_is_not_told_to_leave_out_a_part_of_the_path(real_apps, path, prefix):
    """gunicorn believes whoever connects from its own machine that what `Script_Name` says comes off the path."""
    app = real_apps("flask")
    app.forget()
    fields = {"Script_Name": prefix, "Connection": "close"}
    answers(app.port, encode("POST", path, fields, b"x"))
    assert [request.is_hook for request in app.requests] == [True]
    app.forget()
    process = sidecar(app.url, WEBHOOK_URL=f"{app.url}/hook")
    try:
        answers(process.port, encode("POST", path, fields, b"x"))
        assert [request.target for request in app.requests if request.is_hook] == []
    finally:
        process.kill()


def test_case_44_an_absolute_target_is_compared_too(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_URL=f"{app.url}/hook")
    for path in ("/hook", "/HOOK", "/hook;x", "/%2568ook"):
        assert answers(edge.port, encode("POST", f"http://a.test{path}", host="a.test")).status == 404
    assert app.requests == []


@pytest.mark.parametrize(
    ("hook", "refused", "passed"),
    [
        ("/", ["/", "//", "/%2f", "/;x", "/."], ["/page", "/a/", "/index.html"]),
        ("", ["/", "//"], ["/page", "/a/"]),
        ("/api/Hook/", ["/api/hook", "/API/HOOK/", "/api;x/hook", "/x/api/hook"], ["/hook", "/api", "/api/x/hook"]),
        ("/hook?key=1", ["/hook", "/hook?key=2", "/HOOK?key=1"], ["/?key=1", "/hooks?key=1"]),
        ("/a%20hook", ["/a%20hook", "/A%20HOOK", "/a%2520hook"], ["/ahook", "/a"]),
        ("/hook.php", ["/hook.php", "/hook.php/", "/HOOK.PHP"], ["/hook.phps", "/hooks.php"]),
    ],
)
def test_case_44_the_webhook_may_lie_anywhere(app, sidesocket, hook, refused, passed):
    edge = sidesocket(app, WEBHOOK_URL=f"{app.url}{hook}")
    for path in refused:
        assert answers(edge.port, encode("POST", path)).status == 404, path
    assert app.requests == []
    for path in passed:
        assert answers(edge.port, encode("POST", path)).status == 200, path


def test_case_44_a_webhook_elsewhere_fences_nothing(app, make_app, sidesocket):
    elsewhere = make_app()
    edge = sidesocket(app, WEBHOOK_URL=f"{elsewhere.url}/hook")
    for path in ("/hook", "/HOOK", "/hook;x"):
        assert answers(edge.port, encode("POST", path)).status == 200
    assert elsewhere.requests == []


# 4. A request that turns out to be broken while its connection to the app comes up

BROKEN = {
    "a bad trailer": b"1\r\nx\r\n0\r\nCe.Type: sidesocket.message\r\n\r\n",
    "a bad chunk": b"1\r\nx\r\nZZ\r\n",
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_was_meant_for_the_app_is_written_to_nobody_else(app, sidesocket, how):
    """Its socket is closed by then, and the number of it may be another client's."""
    edge = sidesocket(app, THREADS="2")
    # So that every request needs a connection of its own.
    app.on(Reply(200, "whole", close=True))
    broken = encode("POST", "/broken", {"Transfer-Encoding": "chunked"}) + BROKEN[how]
    for _ in range(100):
        # The client reads HTTP strictly, so that a request in place of an answer fails the test.
        assert is_refused(edge.port, broken, 400)
        assert answers(edge.port, encode("GET", "/whole")).status == 200
    assert {request.target for request in app.requests} == {"/whole"}


def test_a_connection_to_the_app_that_was_given_up_is_not_counted_for_ever(app, sidesocket):
    edge = sidesocket(app, max_files=256)
    broken = encode("POST", "/broken", {"Transfer-Encoding": "chunked"}) + BROKEN["a bad chunk"]
    for _ in range(300):
        assert is_refused(edge.port, broken, 400)
    assert answers(edge.port, encode("GET", "/")).status == 200
