"""What confluent-kafka sees of our topics, for kafka_clients.rs to judge.

    python_client.py table BROKERS TOPIC        a JSON line {"key", "value"} per row of a table, sorted by key
    python_client.py lag BROKERS GROUP TOPIC    a JSON line {"partition", "committed", "end"} per partition

A table is what is left when, of all records of a key, the last one counts, and one without a value deletes the row.
The isolation is written out although it is this client's default: it is not Java's.
"""

import json
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition

PATIENCE_S = 30


def consumer(brokers, group):
    return Consumer({
        "bootstrap.servers": brokers,
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })


def partitions(client, topic):
    return sorted(client.list_topics(topic, PATIENCE_S).topics[topic].partitions)


def table(brokers, topic):
    # Assigned by hand, so the group named here is never joined and nobody's position moves.
    client = consumer(brokers, "a-reader")
    unread = set(partitions(client, topic))
    client.assign([TopicPartition(topic, partition, 0) for partition in unread])
    rows = {}
    while unread:
        message = client.poll(PATIENCE_S)
        if message is None:
            sys.exit(f"{topic}: not read to the end in {PATIENCE_S} s")
        error = message.error()
        if error is None:
            key, value = message.key().decode(), message.value()
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value.decode()
        elif error.code() == KafkaError._PARTITION_EOF:
            unread.discard(message.partition())
        else:
            sys.exit(f"{topic}: {error}")
    client.close()
    for key in sorted(rows):
        print(json.dumps({"key": key, "value": rows[key]}))


def lag(brokers, group, topic):
    client = consumer(brokers, group)
    places = [TopicPartition(topic, partition) for partition in partitions(client, topic)]
    for place in client.committed(places, PATIENCE_S):
        _, end = client.get_watermark_offsets(place, PATIENCE_S)
        print(json.dumps({"partition": place.partition, "committed": place.offset, "end": end}))
    client.close()


if __name__ == "__main__":
    what, arguments = sys.argv[1], sys.argv[2:]
    {"table": table, "lag": lag}[what](*arguments)
