"""Clients of an MQTT broker, made with paho-mqtt.

In: what to do, the ports of publisher and subscriber, the protocol's level. Out: JSON on standard output.
Left out on purpose: agents and brokers; to a client they are a port.
"""

import collections
import hashlib
import json
import pathlib
import queue
import sys
import threading

from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 60


def connected(name, port, level, on_message=None, topic=None, keep=False):
    """A client that is connected, and subscribed to `topic`; with `keep`, to a session that outlives its connections."""
    five = level == 5
    more = {} if five else {"clean_session": not keep}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=level, **more)
    client.reconnect_delay_set(0.01, 0.1)
    client.on_message = on_message
    ready = threading.Event()

    def on_connect(_client, _data, _flags, reason, _properties):
        assert not reason.is_failure, reason
        if topic is None:
            ready.set()
        elif not ready.is_set():
            client.subscribe(topic, qos=2)

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: ready.set()
    if five:
        properties = Properties(PacketTypes.CONNECT)
        if keep:
            properties.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", port, clean_start=not keep, properties=properties)
    else:
        client.connect("127.0.0.1", port)
    client.loop_start()
    assert ready.wait(PATIENCE), f"`{name}` never connected"
    return client


def properties_of(number):
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("kept", "a"), ("Kept", "b"), ("kept", str(number))]
    properties.ContentType = "application/octet-stream"
    properties.CorrelationData = b"request-7"
    properties.ResponseTopic = "shop/answers"
    return properties


def told(message):
    out = {
        "topic": message.topic,
        "qos": message.qos,
        "payload": [len(message.payload), hashlib.sha256(message.payload).hexdigest()],
        "properties": {},
    }
    for name, value in vars(getattr(message, "properties", None) or object.__new__(Properties)).items():
        if name not in ("packetType", "types", "names", "properties"):
            out["properties"][name] = value.hex() if isinstance(value, bytes) else value
    return out


def exchange(publish, subscribe, level):
    """Three messages, one of each QoS, and one that is empty; what the subscriber got."""
    got, all_there = [], threading.Event()

    def on_message(_client, _data, message):
        got.append(told(message))
        if len(got) == 4:
            all_there.set()

    subscriber = connected("till", subscribe, level, on_message, "shop/#")
    publisher = connected("cart", publish, level)
    payloads = [b"plain", bytes(range(256)) * 300, b"\x00\xff", b""]
    for number, payload in enumerate(payloads):
        more = {"properties": properties_of(number)} if level == 5 else {}
        sent = publisher.publish("shop/orders/1001", payload, qos=number % 3, **more)
        sent.wait_for_publish(PATIENCE)
    assert all_there.wait(PATIENCE), got
    for client in (publisher, subscriber):
        client.disconnect()
        client.loop_stop()
    # One of QoS 2 may be overtaken.
    print(json.dumps(sorted(got, key=lambda message: message["payload"])))


def stream(publish, subscribe, level, qos, directory):
    """Numbered messages until a file `stop` is there; which were acknowledged, and which came how often.

    How many were acknowledged stands in the file `acknowledged` meanwhile.
    """
    directory = pathlib.Path(directory)
    came, done = queue.SimpleQueue(), queue.SimpleQueue()
    subscriber = connected(
        "till", subscribe, level, lambda _client, _data, message: came.put(int(message.payload)), "stream", keep=True
    )
    publisher = connected("cart", publish, level, keep=True)
    publisher.on_publish = lambda _client, _data, mid, _reason, _properties: done.put(mid)
    sent, numbers, acknowledged = 0, {}, set()

    def acknowledge():
        acknowledged.add(numbers.pop(done.get(timeout=PATIENCE)))
        progress = directory / "acknowledged.new"
        progress.write_text(str(len(acknowledged)))
        progress.rename(directory / "acknowledged")

    while not (directory / "stop").exists():
        info = publisher.publish("stream", str(sent), qos=qos)
        numbers[info.mid] = sent
        sent += 1
        while len(numbers) >= 20 or not done.empty():
            acknowledge()
    while numbers:
        acknowledge()
    got = collections.Counter()
    try:
        while acknowledged - got.keys():
            got[came.get(timeout=PATIENCE)] += 1
    except queue.Empty:
        pass
    for client in (publisher, subscriber):
        client.disconnect()
        client.loop_stop()
    while not came.empty():
        got[came.get()] += 1
    lost = sorted(acknowledged - got.keys())
    doubled = sorted(number for number, times in got.items() if times > 1)
    print(json.dumps({"sent": sent, "acknowledged": len(acknowledged), "lost": lost, "doubled": doubled}))


def main():
    what, publish, subscribe, level, *rest = sys.argv[1:]
    ports = int(publish), int(subscribe), int(level)
    if what == "exchange":
        exchange(*ports)
    else:
        qos, directory = rest
        stream(*ports, int(qos), directory)


main()
