"""CPU per delivery over two nodes, and Redis's per publication, beside two nginx with nchan over a Redis."""

from measuring import cpu, ratio, settle, show
from rig import Load
from servers import bridge

SUBSCRIBERS, ROUNDS, SECONDS = 1000, 5, 3


def run(rig):
    seconds = rig.options.seconds or SECONDS
    servers = {"sidesocket": _sidesocket(rig), "nchan": _nchan(rig)}
    if servers["nchan"] is None:
        del servers["nchan"]
        print("nchan is not installed and is left out (Debian: scripts/setup.sh peers)")
    each = rig.scaled(SUBSCRIBERS) // 2
    rows = {name: [] for name in servers}
    for number, name in rig.rounds(servers, ROUNDS):
        pids, redis, ports, path, publish = servers[name]
        with Load(rig, ports, path, each, publish, rate=rig.options.rate, seconds=seconds) as load:
            settle(*pids, redis)
            before = cpu(*pids), cpu(load.process.pid), cpu(redis)
            said = load.run()
            settle(*pids, redis)
            after = cpu(*pids), cpu(load.process.pid), cpu(redis)
        used, of_clients, of_redis = (now - then for now, then in zip(after, before))
        if rig.check(number, name, said) and number >= 0:
            rows[name].append({
                "CPU µs/delivery": used / said["deliveries"] * 1e6,
                "with the clients'": (used + of_clients) / said["deliveries"] * 1e6,
                "Redis CPU µs/publication": of_redis / said["published"] * 1e6,
                "p50 ms": said["p50_ms"],
                "p99 ms": said["p99_ms"],
            })  # fmt: skip
    print(f"2 nodes, {2 * each} subscribers, {rig.options.rate:g} publications/s of {rig.options.size} bytes through "
          f"one of them, rounds of {seconds:g} s; medians")  # fmt: skip
    show(rows)
    if "nchan" in rows:
        for column in ("CPU µs/delivery", "with the clients'", "Redis CPU µs/publication"):
            print(f"{column}, sidesocket : nchan {ratio(rows, 'sidesocket', 'nchan', column)}")


def _sidesocket(rig):
    redis = rig.redis()
    nodes = rig.nodes(2, redis)
    publish = (nodes[0].control, "/v1/channels/room/messages")
    return [one.pid for one in nodes], redis.pid, [one.port for one in nodes], "/ws?join=room", publish


def _nchan(rig):
    redis = rig.redis()
    started = [
        bridge.start_nginx(rig.bench, "", f"""
    nchan_use_redis on;
    nchan_redis_url redis://127.0.0.1:{redis.port};
    location /ws {{ nchan_subscriber websocket; nchan_channel_id room; nchan_subscriber_first_message newest; }}
    location /publish {{ nchan_publisher; nchan_channel_id room; nchan_message_buffer_length 1; }}
""")
        for _ in range(2)
    ]  # fmt: skip
    if None in started:
        return None
    ports = [port for _, port in started]
    return [pid for pid, _ in started], redis.pid, ports, "/ws", (ports[0], "/publish")
