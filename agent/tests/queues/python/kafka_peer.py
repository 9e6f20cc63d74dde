"""Kafka clients: librdkafka's (`confluent`) and one in Python alone (`python`).

In: the client, the address of a broker, a command and what it asks for. Out: a line of JSON for each message that was
consumed, and for each that was produced where it lies.
Left out on purpose: judging them; the test does that.
"""

import json
import sys
import time

PATIENCE = 60


def say(**what):
    print(json.dumps(what, sort_keys=True), flush=True)


def value(number):
    """Something that compresses, and that is no text."""
    return b"\xff\x00" + f"order {number} ".encode() * (1 + number % 40)


def headers(number):
    """Keys that repeat, an order, and a value that is null."""
    return [("colour", b"red"), ("number", str(number).encode()), ("colour", None)][: number % 4]


def whole(brokers):
    """Asks again until every broker has joined the cluster, which may be after it listens."""
    deadline = time.monotonic() + PATIENCE
    while len(brokers()) < 3:
        if time.monotonic() > deadline:
            raise SystemExit("the cluster is not whole")


class Confluent:
    def __init__(self, address):
        self.base = {"bootstrap.servers": address, "client.id": "confluent"}

    def create(self, topics):
        from confluent_kafka.admin import AdminClient, NewTopic

        new = [NewTopic(topic, num_partitions=3, replication_factor=3) for topic in topics]
        admin = AdminClient(self.base)
        whole(lambda: admin.list_topics(timeout=5).brokers)
        # The client drops the address that it began with once it knows the brokers, and what it asked there; so it asks again.
        deadline = time.monotonic() + PATIENCE
        for topic in new:
            while not self.created(admin, topic):
                if time.monotonic() > deadline:
                    raise SystemExit(f"{topic.topic} is not created")

    def created(self, admin, topic):
        from confluent_kafka import KafkaError, KafkaException

        try:
            admin.create_topics([topic])[topic.topic].result(PATIENCE)
        except KafkaException as refused:
            error = refused.args[0].code()
            if error == KafkaError._DESTROY_BROKER:
                return False
            if error != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        return True

    def producer(self, **more):
        from confluent_kafka import Producer

        keys = {"linger.ms": 5, "batch.num.messages": 20}
        return Producer({**self.base, **keys, **more})

    def produce(self, topic, codec, numbers, acks="all", slowly=False, producer=None):
        def told(error, message):
            if error is not None:
                raise SystemExit(f"not delivered: {error}")
            say(produced=[message.partition(), message.offset()])

        # Transactions say so themselves.
        keys = {"compression.type": codec, "enable.idempotence": acks == "all", "acks": acks}
        producer = producer or self.producer(**keys)
        for number in numbers:
            producer.produce(
                topic,
                key=str(number).encode(),
                value=value(number),
                headers=headers(number),
                partition=number % 3,
                on_delivery=told,
            )
            producer.poll(0)
            if slowly:
                producer.flush(PATIENCE)
        if producer.flush(PATIENCE):
            raise SystemExit("not all were delivered")

    def transactions(self, topic):
        producer = self.producer(**{"transactional.id": topic, "compression.type": "lz4"})
        producer.init_transactions(PATIENCE)
        for number, ends in enumerate([producer.commit_transaction, producer.abort_transaction] * 2):
            producer.begin_transaction()
            self.produce(topic, "lz4", range(number * 30, number * 30 + 30), producer=producer)
            ends(PATIENCE)

    def consume(self, topics, number, group):
        from confluent_kafka import Consumer

        consumer = Consumer(
            {**self.base, "group.id": group, "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
        )
        consumer.subscribe(topics)
        for _ in until(number):
            message = consumer.poll(1)
            if message is None:
                yield None
            elif message.error():
                # Librdkafka tells of leaders that it lost, and finds the new ones.
                yield None
            else:
                at = [message.topic(), message.partition(), message.offset()]
                yield at, message.key(), message.value(), message.headers() or []
        consumer.close()


class Python:
    def __init__(self, address):
        self.base = {"bootstrap_servers": address, "client_id": "python"}

    def create(self, topics):
        from kafka.admin import NewTopic
        from kafka.errors import TopicAlreadyExistsError, UnknownBrokerIdError

        whole(lambda: self.asked(lambda admin: admin.describe_cluster()["brokers"]))
        # A client keeps the brokers that it met at its start, and the controller may be another one; so a new one asks again.
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                return self.asked(lambda admin: admin.create_topics([NewTopic(topic, 3, 3) for topic in topics]))
            except TopicAlreadyExistsError:
                return None
            except UnknownBrokerIdError:
                continue
        raise SystemExit(f"{topics} are not created")

    def asked(self, question):
        """What a client that was made for this one question is answered."""
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(**self.base)
        try:
            return question(admin)
        finally:
            admin.close()

    def produce(self, topic, codec, numbers, acks="all", slowly=False):
        from kafka import KafkaProducer

        codec = None if codec == "none" else codec
        producer = KafkaProducer(**self.base, acks=acks, compression_type=codec, linger_ms=5)
        sent = []
        for number in numbers:
            # It has no null among header values.
            pairs = [(key, text or b"") for key, text in headers(number)]
            sent.append(
                producer.send(topic, value(number), str(number).encode(), headers=pairs, partition=number % 3)
            )
        for future in sent:
            told = future.get(PATIENCE)
            say(produced=[told.partition, told.offset])
        producer.close()

    def consume(self, topics, number, group):
        from kafka import KafkaConsumer

        consumer = KafkaConsumer(*topics, **self.base, group_id=group, auto_offset_reset="earliest")
        for _ in until(number):
            polled = consumer.poll(1000)
            if not polled:
                yield None
            for messages in polled.values():
                for message in messages:
                    at = [message.topic, message.partition, message.offset]
                    yield at, message.key, message.value, message.headers
        consumer.close()


def until(number):
    """Asks again until so many messages came; whoever counts them ends it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        yield


def consumed(client, topics, number, group, quiet):
    """Tells of `number` messages, and of any that come in the next `quiet` empty polls."""
    seen, empty = 0, 0
    for message in client.consume(topics, number, group):
        if message is None:
            empty += 1
            if seen >= number and empty >= quiet:
                return
            continue
        empty = 0
        seen += 1
        at, key, body, pairs = message
        index = int(key)
        own = [pair for pair in pairs if pair[0] in ("colour", "number")]
        # A client without null among header values has an empty one instead.
        wanted = [(name, text or b"") for name, text in headers(index)]
        say(
            at=at,
            number=index,
            same=body == value(index),
            first=pairs[: len(own)] == own,
            own=[(name, text or b"") for name, text in own] == wanted,
            context={name: text.decode() for name, text in pairs if name not in ("colour", "number")},
        )
    raise SystemExit(f"{seen} of {number} messages came")


def main(kind, address, command, *arguments):
    client = {"confluent": Confluent, "python": Python}[kind](address)
    if command == "create":
        client.create(arguments)
    elif command == "produce":
        topic, codec, number, *acks = arguments
        client.produce(topic, codec, range(int(number)), *(int(ack) for ack in acks))
    elif command == "slowly":
        topic, number = arguments
        client.produce(topic, "lz4", range(int(number)), slowly=True)
    elif command == "transactions":
        client.transactions(*arguments)
    elif command == "consume":
        number, group, *topics = arguments
        consumed(client, topics, int(number), group, 2)


main(*sys.argv[1:])
