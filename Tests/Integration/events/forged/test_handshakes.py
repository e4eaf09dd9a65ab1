"""Nobody forges what events carry by the headers of a handshake."""

import pytest
from support.handshake import refuse, upgrade

FORGED = [
    ("ce-type", "com.example"),
    ("ce-id", "forged"),
    ("CE-UserId", "root"),
    ("ce-extra", "forged"),
    ("webhook-id", "forged"),
    ("Webhook-Signature", "v1,forged"),
    ("Sidesocket-User", "root"),
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Port", "1"),
    ("Forwarded", "for=6.6.6.6"),
    ("X-Real-IP", "6.6.6.6"),
]


def test_case_26_forged_headers_of_the_handshake_reach_no_event(app, sidesocket):
    names = ",".join(name for name, _ in FORGED)
    for extra in ({}, {"FORWARD_HEADERS": "cookie"}):
        app.reset_script()
        edge = sidesocket(app, **extra)
        socket = edge.websocket(headers=FORGED)
        socket.text("x")
        app.wait_events(1, "message")
        socket.close()
        events = app.wait_events(3)
        assert [r.event for r in events] == ["open", "message", "close"]
        for request in events:
            seen = request.head.decode("latin-1")
            for bad in ("forged", "root", "6.6.6.6", "evil.test", "com.example"):
                assert bad not in seen, f"{bad} in {seen}, forged by one of {names}"
            assert request.header("x-forwarded-for") == "127.0.0.1"
            assert request.header("x-forwarded-proto") == "http"
            assert request.header("x-forwarded-host") == socket.host


@pytest.mark.parametrize(
    "name",
    [
        "Ce_Type",
        "ce_userid",
        "X_Forwarded_For",
        "x_real_ip",
        "Sidesocket_User",
        "Webhook_Id",
        "ce_a-b",
        "X-Forwarded_For",
    ],
)
def test_case_26_names_with_underscores_that_collide_are_refused(shared, name):
    refuse(shared, upgrade(more=[(name, "1")]), 400)


def test_case_26_a_connection_header_cannot_remove_what_events_carry(shared):
    app, process = shared
    listed = "Upgrade, X-Forwarded-For, ce-type, ce-id, Host, Content-Length, Cookie"
    socket = process.websocket(connection=listed, headers={"Cookie": "a=1"})
    socket.text("x")
    for request in app.wait_events(2):
        assert request.header("x-forwarded-for") == "127.0.0.1"
        assert request.header("ce-type") and request.header("ce-id") and request.header("host")
