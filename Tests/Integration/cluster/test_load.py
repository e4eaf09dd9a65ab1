"""The load and its checker on one node that keeps everything in its memory: what a cluster promises holds there too."""

import signal

import pytest
from support.channel_history import Closed, Heard, Opened, Published, Received, Told
from support.cluster_load import Load
from support.net import eventually


def test_one_node_keeps_what_a_cluster_promises(make_cluster):
    cluster = make_cluster(1)
    load = Load(cluster, seed=1)
    with load:
        load.published(60)
        # Connections that are cut come again, streams behind what they have got.
        for stream in load.readers[:4]:
            stream.stream.sock.shutdown(2)
        load.published(60)
    # Whoever has its answer here is subscribed.
    load.settle(grace=0)
    for kind in (Closed, Heard, Opened, Published, Received):
        assert load.recording.of(kind), f"no {kind.__name__}"
    assert load.recording.of(Told) == []
    assert len(load.recording.of(Opened, resumed=True)) >= 3


def test_a_node_that_is_killed_loses_its_history_and_tells_it(make_cluster):
    cluster = make_cluster(1)
    load = Load(cluster, seed=2)
    with load:
        load.published(60)
        with load.fault("kill -9 of the only node", loses=True):
            cluster.kill(0)
            cluster.replace(0)
        load.published(60)
    # Nobody is left who could send the close events.
    load.settle(closes=False)
    assert load.recording.of(Told)


def test_a_stream_that_leaves_out_a_message_is_found(make_cluster):
    cluster = make_cluster(1)
    load = Load(cluster, seed=3, repliers=0)
    with load:
        load.published(40)
    load.settle()
    channel = load.readers[0].channels[0]
    one = load.recording.of(Received, reader="stream0", channel=channel)[2]
    load.recording.records.remove(one)
    with pytest.raises(AssertionError) as failure:
        load.judge()
    text = str(failure.value)
    assert "hole" in text and "seed 3" in text and f"the last of {one.channel}" in text


def test_the_load_notes_when_it_cannot_publish(make_cluster):
    cluster = make_cluster(1)
    load = Load(cluster, seed=4)
    with load:
        load.published(20)
        # Nobody asks a node that is known to be dead, so a call has to be under way when it dies.
        cluster.nodes[0].process.send_signal(signal.SIGSTOP)
        # Both publishers: one of them may have got its answer just before.
        eventually(lambda: len(load.calls) == 2, "calls are under way")
        cluster.kill(0)
        cluster.replace(0)
        load.published(3)
        noted = [p for p in load.recording.of(Published, status=None) if not p.sender]
        assert noted
    load.settle(closes=False)
