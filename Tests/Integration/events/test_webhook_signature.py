"""WEBHOOK_SECRET: every event is signed as Standard Webhooks says, checked with the official packages."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import time

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook, WebhookVerificationError
from support.app import Reply, gate
from support.process import ROOT, run
from support.ws import TEXT, frame


def secret(fill, size=32):
    """A secret of `size` bytes as it is written in the setting."""
    return "whsec_" + base64.b64encode(bytes([fill]) * size).decode()


# The shortest and the longest that are allowed, and one between.
OLD, NEW, OTHER = secret(1, 24), secret(0xFB, 64), secret(3)
COMMANDS = {"Content-Type": "application/vnd.sidesocket+json"}


def signature(request, key):
    """What `webhook-signature` must hold for this key, by hand: any bytes may be the body."""
    signed = f"{request.header('webhook-id')}.{request.header('webhook-timestamp')}.".encode() + request.body
    digest = hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def verify(request, key=NEW):
    """Verifies as an app would; each header must be there once."""
    headers = {name: request.header(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    assert all(headers.values()), headers
    Webhook(key).verify(request.body, headers, json_parse=False)


def cloud_event(request):
    """The event as the SDK of CloudEvents reads it; the factory checks what the specification demands."""
    return from_binary_event(HTTPMessage({name: value for name, value in request.headers}, request.body))


def test_every_event_verifies_and_reads_as_a_cloud_event(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_SECRET=NEW)
    app.echo()
    socket = edge.websocket("/ws/chat?q=a%20b", headers={"Cookie": "a=1"})
    for data in ("héllo 🎉", ""):
        socket.text(data)
        assert socket.message() == data
    socket.close(4001, "bye")
    app.wait_events(1, "close")
    requests = app.events()
    assert [r.event for r in requests] == ["open", "message", "message", "close"]
    for request in requests:
        verify(request)
        event = cloud_event(request)
        assert event.get_id() == request.header("webhook-id") == request.header("ce-id")
        assert event.get_type() == f"sidesocket.{request.event}" and event.get_specversion() == "1.0"
        assert event.get_source() == "/sidesocket/test-node"
        assert event.get_subject() == "/ws/chat?q=a%20b"
        assert abs(event.get_time().timestamp() - time.time()) < 60
        assert abs(int(request.header("webhook-timestamp")) - time.time()) < 60
        assert event.get_attributes()["connectionid"] == requests[0].header("ce-connectionid")
    assert len({r.header("webhook-id") for r in requests}) == 4
    assert cloud_event(requests[3]).get_data()["code"] == 4001
    with pytest.raises(WebhookVerificationError):
        verify(requests[1], OTHER)
    requests[1].body += b"!"
    with pytest.raises(WebhookVerificationError):
        verify(requests[1])


def test_a_binary_body_is_signed_byte_for_byte(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_SECRET=NEW)
    app.echo()
    socket = edge.websocket()
    for data in (b"\x00\xff\x80\r\n.", bytes(range(256)) * 200):
        socket.binary(data)
        assert socket.message() == data
        request = app.events("message")[-1]
        assert request.header("webhook-signature") == signature(request, NEW)


def test_while_keys_change_each_event_has_a_signature_of_both(app, sidesocket, tmp_path):
    (tmp_path / "secret").write_text(f"{NEW} {OLD}\n")
    edge = sidesocket(app, WEBHOOK_SECRET_FILE=tmp_path / "secret")
    edge.websocket().close()
    app.wait_events(1, "close")
    for request in app.events():
        verify(request, NEW)
        verify(request, OLD)
        parts = request.header("webhook-signature").split(" ")
        assert parts == [signature(request, NEW), signature(request, OLD)]


def test_a_retry_has_the_same_id_and_body_and_a_fresh_timestamp(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_SECRET=NEW, WEBHOOK_RETRY_FOR="20s")
    app.echo()
    arrivals = []

    def busy(request):
        arrivals.append(time.time())
        return Reply(503, headers={"Retry-After": "2"})

    app.on(busy, event="message", times=1)
    socket = edge.websocket()
    socket.text("once")
    assert socket.message() == "once"
    first, second = app.events("message")
    for request in (first, second):
        verify(request)
    assert first.header("webhook-id") == second.header("webhook-id") == first.header("ce-id")
    assert first.body == second.body and first.header("ce-time") == second.header("ce-time")
    assert abs(int(first.header("webhook-timestamp")) - arrivals[0]) < 2
    assert int(second.header("webhook-timestamp")) > int(first.header("webhook-timestamp"))
    assert first.header("webhook-signature") != second.header("webhook-signature")


def test_a_batch_is_signed_under_the_id_of_its_first_entry(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_SECRET=NEW, WEBHOOK_BATCH=16)
    held = gate()
    app.on(lambda r: Reply(200, json.dumps([[] for _ in json.loads(r.body)]), COMMANDS), method="POST")
    app.on(Reply(204), event="open")
    app.on(Reply(204), event="close")
    app.on(Reply(204, gate=held), event="message", times=1)
    socket = edge.websocket()
    socket.text("first")
    app.wait_events(1, "message")
    socket.send(b"".join(frame(TEXT, f"{n} é") for n in range(3)))
    socket.barrier()
    held.set()
    socket.close()
    app.wait_events(1, "close")
    (batch,) = [r for r in app.requests if (r.header("content-type") or "").startswith("application/cloudevents-batch")]
    verify(batch)
    entries = json.loads(batch.body)
    assert len(entries) == 3 and batch.header("webhook-id") == entries[0]["id"]
    for entry in entries:
        event = JSONFormat().read(None, json.dumps(entry))
        assert event.get_type() == "sidesocket.message" and event.get_id() == entry["id"]


FORGED = {
    "webhook-id": "forged", "Webhook-Timestamp": "1", "WEBHOOK-SIGNATURE": "v1,Zm9yZ2Vk", "webhook-other": "forged",
    "Ce-Id": "forged",
}  # fmt: skip


@pytest.mark.parametrize("key", [NEW, None], ids=["signed", "unsigned"])
def test_a_client_cannot_put_in_a_signature_of_its_own(app, sidesocket, key):
    edge = sidesocket(app, WEBHOOK_SECRET=key, FORWARD_HEADERS="cookie,authorization")
    # Twice: a list would let the app's library find the one it likes.
    edge.websocket(headers=list(FORGED.items()) * 2).close()
    app.wait_events(1, "close")
    for request in app.events():
        if key:
            verify(request)
        else:
            assert not [name for name, _ in request.headers if name.lower().startswith("webhook-")]
        assert request.header("ce-id") != "forged"
        assert "forged" not in request.head.decode("latin-1") and "Zm9yZ2Vk" not in request.head.decode("latin-1")


def test_requests_that_are_passed_through_are_never_signed(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_SECRET=NEW)
    with edge.client() as client:
        assert client.ask("POST", "/form", body=b"x").status == 200
    with edge.client() as client:
        # The signing key must not serve as an oracle, and an event cannot be forged past it.
        assert client.ask("POST", "/ws", {"ce-type": "sidesocket.message", "webhook-id": "x"}, b"x").status == 403
    (request,) = app.plain()
    assert not [name for name, _ in request.headers if name.lower().startswith("webhook-")]


@pytest.mark.parametrize(
    "value",
    ["plain", "whsec_", "whsec_***", "WHSEC_" + OTHER[6:], OTHER[6:], secret(1, 23), secret(1, 65), f"{NEW} plain",
     f"{NEW},{OLD}", " "],
    ids=["no prefix", "no key", "no base64", "upper case", "key alone", "23", "65", "second bad", "by comma", "blank"],
)  # fmt: skip
def test_a_wrong_secret_is_an_error_at_the_start_and_is_not_printed(value):
    for arguments in (("check",), ()):
        done = run(*arguments, APP_URL="http://127.0.0.1:1", WEBHOOK_SECRET=value)
        assert done.returncode == 78, done.stderr
        assert "SIDESOCKET_WEBHOOK_SECRET" in done.stderr
        for part in value.replace(",", " ").split():
            said = (done.stdout + done.stderr).lower()
            assert len(part.lower().removeprefix("whsec_")) < 20 or part.lower().removeprefix("whsec_") not in said


def test_the_secret_is_printed_nowhere(app, sidesocket):
    done = run("check", APP_URL="http://127.0.0.1:1", WEBHOOK_SECRET=f"{NEW} {OLD}")
    assert done.returncode == 0, done.stderr
    edge = sidesocket(app, WEBHOOK_SECRET=f"{NEW} {OLD}", LOG_LEVEL="trace")
    app.on(Reply(500), event="message")
    socket = edge.websocket()
    socket.text("x")
    socket.expect_close(1011)
    app.wait_events(1, "close")
    for key in (NEW, OLD):
        for text in (done.stdout + done.stderr, edge.output, edge.control("/metrics")[2]):
            assert key.removeprefix("whsec_")[:20] not in text


# The examples

SNIPPETS = ROOT / "examples/signatures"
VERIFY = {
    "python": ["python3", "-c", "import sys, json; sys.path.insert(0, sys.argv[1]); from verify import is_genuine; "
               "h, b, s = json.load(sys.stdin); import base64; print(is_genuine(h, base64.b64decode(b), s))"],
    "php": ["php", "-r", "require $argv[1] . '/verify.php'; [$h, $b, $s] = json_decode(stream_get_contents(STDIN), true);"
            "echo is_genuine($h, base64_decode($b), $s) ? 'True' : 'False';"],
    "node": ["node", "-e", "const {isGenuine} = require(process.argv[1] + '/verify.js');"
             "const [h, b, s] = JSON.parse(require('fs').readFileSync(0));"
             "console.log(isGenuine(h, Buffer.from(b, 'base64'), s) ? 'True' : 'False')"],
}  # fmt: skip


@pytest.mark.parametrize("language", VERIFY)
def test_the_example_takes_what_is_genuine_and_nothing_else(app, sidesocket, language):
    if not shutil.which(VERIFY[language][0]):
        pytest.skip(f"no {language}")
    edge = sidesocket(app, WEBHOOK_SECRET=f"{OLD} {NEW}")
    socket = edge.websocket()
    socket.send(frame(2, b"\x00h\xff"))
    request = app.wait_events(1, "message")[0]
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    good = {name: request.header(name) for name in names}
    old = {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) - 1000)}

    def answer(headers, body, key):
        question = json.dumps([headers, base64.b64encode(body).decode(), key])
        command = [*VERIFY[language], str(SNIPPETS)]
        done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert answer(good, request.body, OLD) == answer(good, request.body, NEW) == "True"
    assert answer(good, request.body, OTHER) == "False"
    assert answer(good, request.body + b"x", NEW) == "False"
    assert answer(old, request.body, NEW) == "False"
    assert answer({**good, "webhook-id": "other-1"}, request.body, NEW) == "False"
    for name in names:
        assert answer({k: v for k, v in good.items() if k != name}, request.body, NEW) == "False"
    assert answer({**good, "webhook-signature": "v1, v1,AAAA x"}, request.body, NEW) == "False"
