"""Cases in which connections end."""

from ..api import API
from ..app import Reply
from ..guard import DEFLATE, DeflateGuest, deflated, enter
from ..net import eventually
from ..ws import BINARY, CLOSE, PING, PONG, TEXT, frame
from .quotes import PLAIN, after, closed, said, shows


@shows((1001, "no answer to a ping"), (1001, "no message for too long"), (1001, "the connection is too old; reconnect"))
def heartbeats(app, start):
    edge = start(PING_INTERVAL="200ms", PONG_TIMEOUT="200ms", CLIENT_IDLE_TIMEOUT="1s")
    aging = enter(start(MAX_CONNECTION_AGE="1s"))
    dead, idle = enter(edge), enter(edge)
    while (got := idle.receive()).opcode == PING:
        idle.frame(PONG, got.payload)
    assert got.opcode == CLOSE
    return [(got.code, got.reason), closed(dead), closed(aging)]


@shows((4403, "no longer welcome"))
def revalidation(app, start):
    app.on(Reply(403), event="revalidate")
    return [closed(enter(start(REVALIDATE_INTERVAL="1s")))]


@shows(
    (1008, "the application refused the message"), (1011, "the application failed"),
    (1013, "the application is not available"), (None, "connection closed"),
)  # fmt: skip
def failing_app(app, start):
    edge = start()
    ends = {status: after(Reply(status), edge, app) for status in (400, 404, 302, 500, 429, 502, 503, 504)}
    assert [code for code, _ in ends.values()] == [1008, 1008, 1011, 1011, 1013, 1013, 1013, 1013]
    for reply in (Reply(200, b"\xff", PLAIN), Reply(200, b"x" * (2 << 20)), Reply(204, headers={"Sidesocket-X": "1"})):
        assert after(reply, edge, app)[0] == 1011
    line = eventually(
        lambda: next((e for e in edge.logs if e.get("event") == "message" and "404" in e.get("why", "")), None),
        "the status is in the log",
    )
    assert line["connection"]
    return [*ends.values(), said(edge, "connection closed", '"initiator":"server"')]


@shows((1008, "the client reads too slowly"))
def slow_reader(app, start):
    edge = start(MAX_SEND_BUFFER_BYTES="16KiB", MAX_PENDING_BYTES="4MiB")
    app.on(Reply(200, b"x" * 500_000, {"Content-Type": "application/octet-stream"}), event="message")
    guest = enter(edge, receive_buffer=4096)
    for _ in range(20):
        guest.text("more")
    edge.wait_metric("slow_client_total", 1, action="close")
    return [closed(guest)]


@shows((1008, "the message took too long"), (1009, "The message has too many fragments."))
def pieces(app, start):
    edge = start(MESSAGE_ASSEMBLY_TIMEOUT="200ms", MAX_FRAGMENTS=2)
    slow, many = enter(edge), enter(edge)
    slow.frame(TEXT, "x", fin=False)
    many.send(frame(TEXT, "a", fin=False) + frame(0, "b", fin=False) + frame(0, "c"))
    return [closed(many), closed(slow)]


@shows((1008, "closed by the operator"))
def kicked(app, start):
    edge = start()
    guest = enter(edge)
    API(edge).want(204, "DELETE", f"/v1/connections/{API(edge).connections()[0]['id']}")
    return [closed(guest), said(edge, "connection.close")]


@shows((1009, "The message is too big."), (1009, "The message's compression ratio is too high."))
def big_messages(app, start):
    big = enter(start())
    big.text("x" * (64 << 10))
    big.text("x" * ((64 << 10) + 1))
    bomb = DeflateGuest(start(MAX_MESSAGE_BYTES="4MiB").port).shake(extensions=DEFLATE)
    bomb.frame(BINARY, deflated(bytes(256 << 10)), rsv=4)
    bomb.frame(BINARY, deflated(bytes(2 << 20)), rsv=4)
    return [closed(big), closed(bomb)]


@shows((4429, "too many messages"))
def message_rate(app, start):
    guest = enter(start(MESSAGE_RATE="1/1h", RATE_LIMIT_ACTION="close"))
    guest.text("x")
    guest.text("x")
    return [closed(guest)]
