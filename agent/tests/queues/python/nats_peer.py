"""Clients of a NATS server, made with nats-py.

In: what to do, the ports of publisher and subscriber, a directory. Out: JSON on standard output.
Left out on purpose: agents and servers; to a client they are a port.
"""

import asyncio
import json
import pathlib
import sys

import nats
from nats.errors import NoRespondersError

PATIENCE = 60


async def connected(port, **more):
    servers = [f"nats://127.0.0.1:{port}"]
    return await nats.connect(
        servers, allow_reconnect=True, max_reconnect_attempts=-1, reconnect_time_wait=0.02, **more
    )


def told(message):
    headers = list((message.headers or {}).items())
    return {"subject": message.subject, "headers": headers, "payload": message.data.hex()}


async def exchange(publish, subscribe):
    """Messages of core NATS and of JetStream, and requests; what the subscriber got, and what was answered."""
    subscriber, publisher = await connected(subscribe), await connected(publish)
    out = {"core": [], "stream": [], "answers": []}
    core = await subscriber.subscribe("shop.orders.*", queue="tills")

    async def rate(message):
        out["core"].append(told(message))
        await message.respond(b"1.5")

    await subscriber.subscribe("rates.get", cb=rate)
    await subscriber.flush()
    own = {"Kept": "a b", "kept": "c"}
    for payload, headers in [(b"plain", None), (bytes(range(256)) * 300, own), (b"", own), (b"", None)]:
        # One at a time: what is published without waiting may share a span.
        await publisher.publish("shop.orders.1001", payload, headers=headers)
        out["core"].append(told(await core.next_msg(PATIENCE)))
    answer = await publisher.request("rates.get", b"eur", PATIENCE)
    out["answers"].append(answer.data.decode())
    try:
        await publisher.request("nobody.there", b"", PATIENCE)
    except NoRespondersError:
        out["answers"].append("nobody")

    stream = publisher.jetstream()
    await stream.add_stream(name="BILLS", subjects=["bills.>"])
    for number, headers in enumerate([None, {"Nats-Msg-Id": "seven", **own}, {"Nats-Msg-Id": "seven"}]):
        stored = await stream.publish("bills.new", str(number).encode(), PATIENCE, headers=headers)
        out["answers"].append([stored.seq, bool(stored.duplicate)])
    bills = await subscriber.jetstream().pull_subscribe("bills.>", "till")
    for message in await bills.fetch(2, PATIENCE):
        out["stream"].append(told(message))
        await message.ack_sync(PATIENCE)
    await subscriber.drain()
    await publisher.drain()
    print(json.dumps(out))


async def stream(publish, subscribe, directory):
    """Numbered messages, each until it is acknowledged, until a file `stop` is there; what the stream then holds.

    How many were acknowledged stands in the file `acknowledged` meanwhile.
    """
    directory = pathlib.Path(directory)

    async def silent(_error):
        pass

    publisher = await connected(publish, error_cb=silent)
    jetstream = publisher.jetstream()
    await jetstream.add_stream(name="NUMBERS", subjects=["numbers"])
    sent = 0
    while not (directory / "stop").exists():
        headers = {"Nats-Msg-Id": str(sent)}
        try:
            await jetstream.publish("numbers", str(sent).encode(), 0.5, headers=headers)
        except (nats.errors.Error, asyncio.TimeoutError):
            # Nobody knows whether it arrived; by its id it is stored once however often it is sent.
            continue
        sent += 1
        progress = directory / "acknowledged.new"
        progress.write_text(str(sent))
        progress.rename(directory / "acknowledged")
    direct = await connected(subscribe)
    numbers = await direct.jetstream().subscribe("numbers", ordered_consumer=True)
    held = (await direct.jetstream().stream_info("NUMBERS")).state.messages
    got = [int((await numbers.next_msg(PATIENCE)).data) for _ in range(held)]
    lost = sorted(set(range(sent)) - set(got))
    doubled = sorted({number for number in got if got.count(number) > 1})
    await direct.close()
    await publisher.close()
    print(json.dumps({"sent": sent, "lost": lost, "doubled": doubled}))


def main():
    what, publish, subscribe, *rest = sys.argv[1:]
    asyncio.run({"exchange": exchange, "stream": stream}[what](int(publish), int(subscribe), *rest))


main()
