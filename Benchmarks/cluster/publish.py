"""How many publications with history one node takes, who limits them, and how long the last delivery of one takes."""

from measuring import cpu, settle, show
from rig import Load

ROUNDS, SECONDS, SUBSCRIBERS = 5, 3, 100
HISTORY = {"HISTORY_SIZE": "100", "HISTORY_TTL": "1m"}


def run(rig):
    redis = rig.redis()
    pair, (alone,) = rig.nodes(2, redis, **HISTORY), rig.nodes(1, **HISTORY)
    _throughput(rig, redis, {"over Redis": pair[0], "alone": alone})
    _latency(rig, {"over Redis": pair, "alone": [alone]})


def _throughput(rig, redis, nodes):
    clients, batch, seconds = rig.options.clients, rig.options.batch, rig.options.seconds or SECONDS
    one_by_one, lists = "/v1/channels/c#/messages", "/v1/messages"
    shapes = {
        "one channel": ("/v1/channels/c/messages", "", clients, 0),
        "a channel each": (one_by_one, "", clients, 0),
        f"lists of {batch}": (lists, "c#", 1, batch),
        f"lists of {batch} at once": (lists, "c#", clients, batch),
    }
    modes = {f"{name}, {shape}": (nodes[name], shapes[shape]) for shape in shapes for name in nodes}
    rows = {name: [] for name in modes}
    for number, name in rig.rounds(modes, ROUNDS):
        node, (path, channel, count, size) = modes[name]
        how = {"channel": channel, "clients": count, "batch": size, "seconds": seconds}
        with Load(rig, [node.port], "/ws", 0, (node.control, path), **how) as load:
            settle(node.pid, redis.pid)
            measured = {"node": node.pid, "Redis": redis.pid, "load": load.process.pid}
            if name.startswith("alone"):
                del measured["Redis"]
            before = {who: cpu(pid) for who, pid in measured.items()}
            said = load.run()
            used = {who: cpu(pid) - before[who] for who, pid in measured.items()}
        if rig.check(number, name, said) and number >= 0:
            rows[name].append({
                "publications/s": said["published"] / said["seconds"],
                "answer p50 ms": said["answer_p50_ms"],
                "p99 ms": said["answer_p99_ms"],
                **{f"{who} µs": used[who] / said["published"] * 1e6 for who in used if who != "load"},
                **{f"{who} %": used[who] / said["seconds"] * 100 for who in used},
            })  # fmt: skip
    print(f"publications of {rig.options.size} bytes with history, {clients} clients, rounds of {seconds:g} s; "
          "medians; µs: CPU per publication, %: of a core")  # fmt: skip
    show(rows)


def _latency(rig, servers):
    each, seconds = rig.scaled(SUBSCRIBERS), rig.options.seconds or SECONDS
    rows = {"over Redis, the same node": [], "over Redis, the other node": [], "alone": []}
    for number, name in rig.rounds(servers, ROUNDS):
        nodes = servers[name]
        publish = (nodes[0].control, "/v1/channels/room/messages")
        ports = [one.port for one in nodes]
        with Load(rig, ports, "/ws?join=room", each, publish, rate=rig.options.rate, seconds=seconds) as load:
            settle(*(one.pid for one in nodes))
            said = load.run()
        if rig.check(number, name, said) and number >= 0:
            where = [row for row in rows if row.startswith(name)]
            for row, (middle, high) in zip(where, said["last"], strict=False):
                rows[row].append({"p50 ms": middle, "p99 ms": high})
    print(f"\nfrom publishing to the last delivery at a node: {each} subscribers at each, "
          f"{rig.options.rate:g} publications/s; medians")  # fmt: skip
    show(rows)
