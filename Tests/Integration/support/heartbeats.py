"""What the tests of the heartbeat share: how exactly it comes, and its settings."""

import json

from .net import PATIENCE

# The wheel of timers turns in steps of this.
RESOLUTION = 0.05
# What a busy machine may add to the moment that something is due.
SLACK = 1.5


def beat(interval, timeout, idle="10s", **more):
    """Settings in milliseconds."""
    return {"LB_IDLE_TIMEOUT": idle, "PING_INTERVAL": f"{interval}ms", "PONG_TIMEOUT": f"{timeout}ms", **more}


def close_event(app, timeout=PATIENCE):
    """The body of the one close event."""
    events = app.wait_events(1, "close", timeout)
    assert len(events) == 1
    return json.loads(events[0].body)
