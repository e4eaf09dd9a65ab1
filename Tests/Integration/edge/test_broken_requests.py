"""A request that turns out to be broken while its connection to the app comes up."""

import pytest
from support.app import Reply
from support.forgery import answers, is_refused
from support.raw import encode

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
