"""The drain of many sockets: closes are spread evenly, what is in flight lasts, the rest of the port still answers.

SIDESOCKET_DRAIN_SOCKETS sets the number of sockets of the first test, 5000 for the nightly run.
"""

import http.client
import json
import os
import signal
import threading
import time

import pytest
from support.app import Reply, gate
from support.net import PATIENCE, eventually, free_port
from support.process import Sidesocket
from support.ws import TEXT, frame

SOCKETS = int(os.environ.get("SIDESOCKET_DRAIN_SOCKETS", "300"))
# The part of the drain timeout over which the closes are spread.
SPREAD = 0.8
# What each socket takes of it at most, in seconds.
STEP = 0.01


def api(edge, method="POST", path="/v1/drain", port=None, host="127.0.0.1", **headers):
    """Asks the control listener: (status, content type, body)."""
    connection = http.client.HTTPConnection(host, port or edge.control_port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type"), answer.read().decode()
    finally:
        connection.close()


def wait_draining(edge):
    eventually(lambda: edge.readyz()[0] == 503, "not ready any more")


def count_closes(app):
    """Counts close events as they come, without looking through all that is recorded."""
    codes, lock = {}, threading.Lock()

    def note(request):
        code = json.loads(request.body)["code"]
        with lock:
            codes[code] = codes.get(code, 0) + 1
        return Reply(204)

    app.on(note, event="close")
    return codes


def test_the_closes_of_many_sockets_are_spread_evenly_over_the_drain(app, sidesocket, swarm):
    timeout = 4 if SOCKETS <= 1000 else 20
    edge = sidesocket(app, DRAIN_TIMEOUT=f"{timeout}s", MAX_CONNECTIONS=str(SOCKETS + 100))
    codes = count_closes(app)
    clients = swarm(edge)
    members = clients.enter(SOCKETS, timeout=50)
    started = time.monotonic()
    edge.terminate()
    assert edge.wait_exit(timeout + 5) == 0
    took = time.monotonic() - started
    assert took <= timeout + 1.5
    eventually(lambda: all(m.ended_at for m in members), "every socket has ended", interval=0.02)
    assert {m.code for m in members} == {1012}
    moments = sorted(m.closed_at - started for m in members)
    span = moments[-1] - moments[0]
    quarters = [0] * 4
    for moment in moments:
        quarters[min(3, int((moment - moments[0]) / span * 4))] += 1
    tenths = [round(moments[min(len(moments) - 1, len(moments) * n // 10)], 2) for n in range(11)]
    print(f"\n{SOCKETS} sockets, drain timeout {timeout} s: closes from {moments[0]:.2f} to {moments[-1]:.2f} s")
    print(f"deciles at {tenths} s; quarters hold {quarters}; exit after {took:.2f} s")
    assert moments[0] <= 0.25 * timeout, "the first is closed at once"
    assert min(SPREAD * timeout, SOCKETS * STEP) * 0.8 <= span <= timeout
    assert all(0.15 <= count / SOCKETS <= 0.35 for count in quarters), quarters
    # No crowd in between, either: at no moment did a tenth of them go within a fiftieth of the time.
    window = max(2, SOCKETS // 10)
    assert all(b - a > span / 50 for a, b in zip(moments, moments[window:], strict=False)), tenths
    assert codes == {1012: SOCKETS}
    assert "close events were not delivered" not in edge.output


def test_sockets_with_an_event_in_flight_last(app, sidesocket, swarm):
    edge = sidesocket(app, DRAIN_TIMEOUT="5s", WEBHOOK_TIMEOUT="20s")
    held = gate()
    app.on(lambda r: Reply(200, "done", {"Content-Type": "text/plain"}, gate=held), event="message")
    clients = swarm(edge)
    busy, idle = clients.enter(10), clients.enter(50)
    clients.send(frame(TEXT, "work"), busy)
    app.wait_events(10, "message")
    edge.terminate()
    eventually(lambda: all(m.code for m in idle), "the idle ones are closed")
    assert {m.code for m in idle} == {1012}
    assert [m.code for m in busy] == [None] * 10
    held.set()
    eventually(lambda: all(m.code for m in busy), "then the busy ones")
    assert {m.code for m in busy} == {1012}
    # Its answer reached each of them before the Close.
    assert [[text for _, text in m.messages] for m in busy] == [[b"done"]] * 10
    assert min(m.closed_at for m in busy) > max(m.closed_at for m in idle)
    assert edge.wait_exit() == 0
    assert sorted({e.event for e in app.events()}) == ["close", "message", "open"]
    assert len(app.events("close")) == 60


@pytest.mark.parametrize("count", [1, 3, 50])
def test_few_sockets_are_closed_at_once_however_long_the_drain_may_take(app, sidesocket, swarm, count):
    edge = sidesocket(app, DRAIN_TIMEOUT="60s")
    clients = swarm(edge)
    members = clients.enter(count)
    started = time.monotonic()
    edge.terminate(signal.SIGINT)
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 2
    eventually(lambda: all(m.ended_at for m in members), "every socket has ended")
    moments = [m.closed_at for m in members]
    assert max(moments) - min(moments) < count * STEP + 0.5
    assert {m.code for m in members} == {1012}
    assert len(app.events("close")) == count


def test_new_sockets_are_sent_away_for_a_while_and_the_rest_is_served_during_the_drain(app, sidesocket, swarm):
    edge = sidesocket(app, DRAIN_TIMEOUT="6s")
    app.echo()
    clients = swarm(edge)
    members = clients.enter(500)
    kept = edge.client()
    assert kept.ask(target="/before").text == "from the app"
    opens = len(app.events("open"))
    edge.terminate()
    wait_draining(edge)
    waits = []
    for _ in range(25):
        late = edge.try_websocket()
        assert late.answer.status == 503
        assert len(late.answer.text.strip().splitlines()) == 1
        waits.append(int(late.answer.header("retry-after")))
        late.wait_closed()
    assert all(1 <= wait <= 10 for wait in waits)
    assert len(set(waits)) > 3, f"all are told to come back at the same time: {waits}"
    # Pass-through on a connection of before and on a new one; events of sockets that are still open.
    assert kept.ask(target="/during").text == "from the app"
    with edge.client() as fresh:
        assert fresh.ask("POST", "/form", body=b"x=1").text == "from the app"
    still = clients.alive
    assert still, "the drain was over too soon to say anything"
    clients.send(frame(TEXT, "last words"), still[-1:])
    eventually(lambda: still[-1].messages or still[-1].code, "an answer or the end")
    assert edge.metric("draining") == 1
    assert edge.metric("handshakes_total", result="draining") == 25
    assert len(app.events("open")) == opens
    assert edge.wait_exit() == 0
    assert {m.code for m in members} == {1012}


def test_a_handshake_that_the_app_is_thinking_about_is_no_orphan(app, sidesocket):
    """Accepted during the drain, it is closed at once with 1012; refused, the app gets no close event."""
    edge = sidesocket(app, DRAIN_TIMEOUT="10s")
    held = gate()
    app.on(Reply(204, gate=held), event="open")
    found = []
    thread = threading.Thread(target=lambda: found.append(edge.try_websocket()))
    thread.start()
    app.wait_events(1, "open")
    edge.terminate()
    wait_draining(edge)
    held.set()
    thread.join(PATIENCE)
    if found[0].answer.status == 101:
        found[0].expect_close(1012)
    else:
        assert found[0].answer.status == 503
    assert edge.wait_exit() == 0
    # It was opened with a 2xx, so its end is told.
    assert len(app.events("close")) == 1


# By the API


def test_the_api_drains_like_a_signal(app, sidesocket, swarm):
    edge = sidesocket(app, DRAIN_TIMEOUT="2s")
    clients = swarm(edge)
    members = clients.enter(200)
    started = time.monotonic()
    status, kind, _ = api(edge)
    assert status in (200, 202, 204)
    edge.exit_expected = True
    wait_draining(edge)
    # A second request changes nothing.
    assert api(edge)[0] == status
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 2 + 1.5
    eventually(lambda: all(m.ended_at for m in members), "every socket has ended")
    assert {m.code for m in members} == {1012}
    moments = [m.closed_at for m in members]
    assert max(moments) - min(moments) > 1
    assert len(app.events("close")) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "s3cret-token"},
        {"Authorization": "Basic s3cret-token"},
        {"Authorization": "Bearer s3cret-token-and-more"},
        {"Authorization": "Bearer s3cret-toke"},
        {"Authorization": "Bearer s3cret-tokens3cret-token"},
    ],
    ids=str,
)
def test_the_wrong_token_drains_nothing(app, token_edge, headers):
    status, kind, body = api(token_edge, **headers)
    assert status == 401
    assert kind.startswith("application/problem+json") and json.loads(body)["status"] == 401
    assert "s3cret" not in body
    assert token_edge.readyz()[0] == 200


@pytest.fixture(scope="module")
def token_edge():
    process = Sidesocket(APP_URL="http://127.0.0.1:1", CONTROL_TOKEN="s3cret-token")
    yield process
    process.kill()


def test_with_a_token_what_needs_none_still_needs_none(token_edge):
    for path in ("/metrics", "/healthz", "/readyz"):
        assert token_edge.control(path)[0] == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_right_token_drains(app, sidesocket, tmp_path, scheme):
    secret = tmp_path / "token"
    secret.write_text("s3cret-token\n")
    edge = sidesocket(app, DRAIN_TIMEOUT="2s", CONTROL_TOKEN_FILE=str(secret))
    assert api(edge)[0] == 401
    assert api(edge, "GET", Authorization=f"{scheme} s3cret-token")[0] == 405
    assert edge.readyz()[0] == 200
    assert api(edge, Authorization=f"{scheme} s3cret-token")[0] in (200, 202, 204)
    assert edge.wait_exit() == 0
    assert "s3cret" not in edge.output


def test_without_a_token_the_api_answers_on_loopback_listeners_alone(app, sidesocket):
    open_port, wide_port = free_port(), free_port()
    edge = sidesocket(app, CONTROL_LISTEN=f"0.0.0.0:{wide_port},127.0.0.1:{open_port}", DRAIN_TIMEOUT="2s", wait=False)
    edge.control_port = wide_port
    eventually(lambda: edge.readyz()[0] == 200, lambda: f"ready: {edge.output}", timeout=20)
    status, kind, body = api(edge)
    assert status == 403
    assert kind.startswith("application/problem+json") and "SIDESOCKET_CONTROL_TOKEN" in body
    assert edge.readyz()[0] == 200
    assert api(edge, port=open_port)[0] in (200, 202, 204)
    assert edge.wait_exit() == 0


def test_a_web_page_cannot_drain_a_sidecar_on_the_same_machine(app, edge):
    """A browser would send the request of any page to 127.0.0.1; it says where the page comes from."""
    status, _, _ = api(edge, Origin="https://evil.example")
    assert status in (401, 403), status
    assert edge.readyz()[0] == 200


# Signals


def hanging(app, edge):
    app.on(Reply(raw=b""), event="message")
    socket = edge.websocket()
    socket.text("x")
    app.wait_events(1, "message")
    return socket


def test_a_second_sigterm_ends_it_at_once_in_the_midst_of_the_spread(app, sidesocket, swarm):
    edge = sidesocket(app, DRAIN_TIMEOUT="30s")
    clients = swarm(edge)
    members = clients.enter(300)
    edge.terminate()
    eventually(lambda: any(m.code for m in members), "the drain has begun")
    started = time.monotonic()
    edge.terminate()
    assert edge.wait_exit(2) == -signal.SIGTERM
    assert time.monotonic() - started < 2
    assert any(m.code is None for m in members)


def test_after_a_drain_by_the_api_it_takes_two_signals_to_end_it_at_once(app, sidesocket):
    """What sends the request may not be what sends SIGTERM: Kubernetes does that after its preStop hook."""
    edge = sidesocket(app, DRAIN_TIMEOUT="30s", WEBHOOK_TIMEOUT="30s")
    socket = hanging(app, edge)
    assert api(edge)[0] in (200, 202, 204)
    wait_draining(edge)
    edge.terminate()
    # It must stay; only time can tell.
    with pytest.raises(Exception, match="timed out"):
        edge.process.wait(0.7)
    assert edge.readyz()[0] == 503
    edge.terminate()
    assert edge.wait_exit(2) == -signal.SIGTERM
    del socket


def test_a_request_to_drain_after_a_signal_changes_nothing(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="30s", WEBHOOK_TIMEOUT="30s")
    socket = hanging(app, edge)
    edge.terminate()
    wait_draining(edge)
    assert api(edge)[0] in (200, 202, 204)
    # Nor does it end the control listener: a liveness probe would kill the process in the midst of its drain.
    for _ in range(5):
        assert edge.control("/healthz")[0] == 200
        assert api(edge)[0] in (200, 202, 204)
    assert edge.readyz()[0] == 503
    assert edge.process.poll() is None
    edge.terminate()
    assert edge.wait_exit(2) == -signal.SIGTERM
    del socket
