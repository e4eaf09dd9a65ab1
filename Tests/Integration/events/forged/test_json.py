"""Nobody forges an event in structured or batched JSON."""

import gzip

import pytest
from support.forgery import BATCH, ONE, REQUIRED, MiB, answers, check_only, event, fresh, is_refused, serve
from support.raw import Client, encode

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
