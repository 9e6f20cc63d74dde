"""Clients of Redis, made with redis-py.

In: what to do, the port, the protocol's version or a directory. Out: JSON on standard output.
Left out on purpose: agents and servers; to a client they are a port.
"""

import json
import pathlib
import sys
import time

import redis

PATIENCE = 60


def plain(value):
    """Answers of both versions of the protocol, in one form that JSON has."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return [[plain(key), plain(item)] for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def exchange(port, version):
    """Entries alone, in pipelines and transactions; what was read and claimed, and other values."""
    client = redis.Redis(port=int(port), protocol=int(version))
    out = [client.set("large", b"\x00\xff\r\n" * 2_000_000), len(client.get("large"))]
    out.append(client.xadd("orders:7", {"a": "1", b"\xff": b"\r\n$1\r\n"}, id="1-1"))
    out.append(client.xadd("orders:7", {"own": "2"}, id="2-1", maxlen=100))
    out.append(client.xadd("private", {"own": "3"}, id="1-1"))
    out.append(client.xadd("nothing", {"a": "1"}, nomkstream=True))
    try:
        client.xadd("large", {"a": "1"})
    except redis.ResponseError as error:
        out.append(str(error))
    with client.pipeline(transaction=True) as pipe:
        pipe.set("a", "1").xadd("orders:7", {"own": "4"}, id="3-1").incr("a")
        out.append(pipe.execute())
    with client.pipeline(transaction=False) as pipe:
        for number in range(4, 8):
            pipe.xadd("orders:7", {"own": str(number)}, id=f"{number}-1").get("a")
        out.append(pipe.execute())
    client.xgroup_create("orders:7", "tills", "0")
    client.xgroup_create("private", "tills", "0")
    out.append(client.xread({"orders:7": "0", "private": "0"}))
    one = client.xreadgroup("tills", "till", {"orders:7": ">"}, count=1)
    out.append(one)
    out.append(client.xack("orders:7", "tills", "1-1"))
    out.append(client.xreadgroup("tills", "till", {"orders:7": ">", "private": ">"}, count=3))
    out.append(client.xautoclaim("orders:7", "tills", "other", 0, "2-1", count=1))
    out.append(client.xclaim("orders:7", "tills", "other", 0, ["3-1"]))
    out.append(client.xread({"orders:7": "$"}, block=1))
    script = client.eval("return redis.call('xadd', KEYS[1], '9-1', 'a', '1')", 1, "orders:7")
    out.append(script)
    with client.pubsub() as listener:
        listener.subscribe("news")
        while listener.get_message(timeout=PATIENCE)["type"] != "subscribe":
            pass
        out.append(client.publish("news", "x"))
        out.append(listener.get_message(timeout=PATIENCE))
    print(json.dumps(plain(out)))


def stream(port, direct, directory):
    """Numbered entries until a file `stop` is there; what the stream then holds.

    How many were acknowledged stands in the file `acknowledged` meanwhile.
    """
    directory = pathlib.Path(directory)
    client = redis.Redis(port=int(port), socket_timeout=PATIENCE, retry=None)
    sent, acknowledged = 0, set()
    while not (directory / "stop").exists():
        try:
            client.xadd("numbers", {"number": sent})
            acknowledged.add(sent)
        except (redis.ConnectionError, redis.TimeoutError):
            # Nobody knows whether it arrived; the next number has its own place.
            time.sleep(0.02)
        sent += 1
        progress = directory / "acknowledged.new"
        progress.write_text(str(len(acknowledged)))
        progress.rename(directory / "acknowledged")
    held = [int(fields[b"number"]) for _, fields in redis.Redis(port=int(direct)).xrange("numbers")]
    lost = sorted(acknowledged - set(held))
    doubled = sorted({number for number in held if held.count(number) > 1})
    print(json.dumps({"sent": sent, "lost": lost, "doubled": doubled}))


def main():
    what, *rest = sys.argv[1:]
    {"exchange": exchange, "stream": stream}[what](*rest)


main()
