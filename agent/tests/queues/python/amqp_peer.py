"""Clients of an AMQP 0-9-1 broker, made with pika and aio-pika.

In: which of the two, a port, and the name of an exchange and a queue of its own. Out: JSON on standard output: each message as
it came, with its properties in their order.
Left out on purpose: agents and brokers; to a client they are a port.
"""

import asyncio
import datetime
import decimal
import json
import sys

import aio_pika
import pika

PATIENCE = 60
HEADERS = {
    "text": "value",
    "number": 7,
    "large": 1 << 40,
    "yes": True,
    "price": decimal.Decimal("9.99"),
    "none": None,
    "when": datetime.datetime(2026, 1, 2, 3, 4, 5),
    "list": ["a", 1, {"deep": "b"}],
    "table": {"traceparent": "not this one", "list": [None]},
}
BODIES = [b"seven", b"", b"x" * 300_000, bytes(range(256))]


def properties(make):
    """One of each kind: none at all, none of the headers, all of them, and a few with a table that is empty."""
    return [
        make(),
        make(content_type="text/plain", message_id="m-1", delivery_mode=2),
        make(
            content_type="application/json",
            content_encoding="utf-8",
            headers=dict(HEADERS),
            delivery_mode=2,
            priority=3,
            correlation_id="request-7",
            reply_to="answers",
            expiration="60000",
            message_id="m-2",
            type="order",
            app_id="cart",
        ),
        make(headers={}, message_id="m-3"),
    ]


def plain(value):
    """What JSON can say of a header."""
    if isinstance(value, dict):
        return [[key, plain(of)] for key, of in value.items()]
    if isinstance(value, list):
        return [plain(of) for of in value]
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def told(body, of, names):
    rest = {name: repr(getattr(of, name)) for name in names}
    return {"body": bytes(body).hex(), "headers": plain(of.headers or {}), "rest": rest}


NAMES = [
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "app_id",
]


def with_pika(port, exchange, queue):
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, exchange, "orders.#")
    channel.confirm_delivery()
    for body, of in zip(BODIES, properties(pika.BasicProperties)):
        channel.basic_publish(exchange, "orders.new", body, of, mandatory=True)
    came = []
    # More than one at a time, so that bodies and acknowledgements come in turns.
    channel.basic_qos(prefetch_count=2)
    for method, of, body in channel.consume(queue, inactivity_timeout=PATIENCE):
        came.append(told(body, of, NAMES))
        channel.basic_ack(method.delivery_tag)
        if len(came) == len(BODIES):
            break
    channel.cancel()
    connection.close()
    return came


async def with_aio_pika(port, exchange_name, queue_name):
    connection = await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/")
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=2)
        exchange = await channel.declare_exchange(exchange_name, "topic", durable=True)
        queue = await channel.declare_queue(queue_name, durable=True)
        await queue.bind(exchange, "orders.#")
        for number, body in enumerate(BODIES):
            # It takes no properties as they are on the wire.
            of = properties(dict)[number]
            of["expiration"] = 60 if "expiration" in of else None
            # Where there is none it makes one.
            of.setdefault("message_id", "m-0")
            message = aio_pika.Message(body, **of)
            await exchange.publish(message, "orders.new", timeout=PATIENCE)
        came = []
        async with queue.iterator(timeout=PATIENCE) as messages:
            async for message in messages:
                async with message.process():
                    came.append(told(message.body, message, NAMES))
                if len(came) == len(BODIES):
                    return came


if __name__ == "__main__":
    which, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if which == "pika":
        came = with_pika(port, f"{name}-shop", f"{name}-till")
    else:
        came = asyncio.run(with_aio_pika(port, f"{name}-shop", f"{name}-till"))
    print(json.dumps(came))
