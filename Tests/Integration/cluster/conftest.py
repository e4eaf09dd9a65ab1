"""Several nodes over one engine, which is a Redis of the test's own unless it says otherwise."""

import pytest
from support.app import App, open_gates
from support.cluster import Cluster, admit
from support.process import Sidesocket
from support.publishing import kept
from support.redis_servers import RedisServer, needs_redis


@pytest.fixture
def usual_settings():
    """The tests in this folder need the defaults, such as retries."""
    return {}


@pytest.fixture
def redis(tmp_path):
    """One server of Redis."""
    needs_redis()
    with RedisServer(tmp_path / "redis") as server:
        yield server.start()


@pytest.fixture
def make_cluster(app, sidesocket):
    """Starts nodes: `make_cluster(2, engine, HISTORY_SIZE=5)`; `wait=False` does not wait for their engine."""
    made = []

    def make(count=2, engine=None, *, wait=True, relayed=False, **settings):
        app.echo()
        app.on(admit, event="open")
        one = Cluster(sidesocket, app, engine, relayed, **settings)
        made.append(one)
        for _ in range(count):
            one.add()
        return one.wait_up() if wait else one

    yield make
    kept.clear()
    for one in made:
        one.stop()


@pytest.fixture
def pair(make_cluster, redis):
    """Two nodes with default settings over one Redis."""
    return make_cluster(2, redis)


@pytest.fixture(scope="module")
def module_cluster(tmp_path_factory):
    """Two nodes for the many small cases of a file that need no settings of their own."""
    needs_redis()
    app = App()
    app.echo()
    app.on(admit, event="open")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        started = []

        def start(app, **settings):
            started.append(Sidesocket(APP_URL=app.url, **settings))
            return started[-1]

        try:
            cluster = Cluster(start, app, server.start())
            for _ in range(2):
                cluster.add()
            yield cluster.wait_up()
        finally:
            open_gates()
            for process in started:
                process.kill()
            app.stop()


@pytest.fixture
def shared_cluster(module_cluster):
    """The cluster of the module, checked after each test."""
    yield module_cluster
    kept.clear()
    for node in module_cluster.nodes:
        node.check_alive()
    assert module_cluster.app.faults == [], "the app was sent bad HTTP"

