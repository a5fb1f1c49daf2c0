"""`python -m bytewax.run "job.py:job('BROKERS', 'OUTPUT_TOPIC')"`: the job on Bytewax, until it is killed."""

import bytewax.operators as op
import msgspec
import progress
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from events import SEPARATOR, TOPICS, decode
from hours import HOUR_US, Hours, Part

# Ten times the default: fewer parts of the same keys, and fewer turns of the dataflow.
BATCH = 10_000
CONSUMER = {
    # Each of the 36 partitions has a consumer, and each of those would fetch 64 MB ahead.
    "queued.max.messages.kbytes": "4096",
    # A consumer whose queue was full fetches again at once; by default it rests for a second.
    "fetch.queue.backoff.ms": "2",
    # Whole batches of the partition.
    "fetch.message.max.bytes": "4194304",
    # What each would report every second as JSON, for a gauge that nobody reads here.
    "statistics.interval.ms": "0",
}
PRODUCER = {"compression.type": "lz4"}


def job(brokers, output):
    progress.begin()
    flow = Dataflow("hours")
    source = KafkaSource([brokers], TOPICS, batch_size=BATCH, add_config=CONSUMER)
    messages = op.input("inputs", flow, source)
    # A batch is put together by key before it goes on: an item that is routed costs more than a value in a list.
    parts = op.flat_map_batch("decode", messages, parts_of)
    rows = op.stateful_batch("hours", parts, Hours)
    op.output("rows", op.map("record", rows, record_of), KafkaSink([brokers], output, add_config=PRODUCER))
    return flow


def parts_of(messages):
    parts = {}
    for message in messages:
        try:
            key, at_us, value, bad = decode(message)
        except ValueError:
            continue  # no event
        hour_us = at_us - at_us % HOUR_US
        part = parts.get((key, hour_us))
        if part is None:
            part = parts[key, hour_us] = Part(hour_us)
        part.values.append(value)
        part.bad += bad
        if at_us > part.newest_us:
            part.newest_us = at_us
    progress.read(len(messages))
    return [(key, part) for (key, _), part in parts.items()]


def record_of(keyed):
    key, row = keyed
    hour_ms = row.hour_us // 1_000
    value = {
        "key": key.split(SEPARATOR),
        "hour_ms": hour_ms,
        "event_count": row.events,
        "bad_count": row.bad,
        "p50": row.p50,
        "p99": row.p99,
        "max": row.max,
    }
    return KafkaSinkMessage(f"{key}{SEPARATOR}{hour_ms}".encode(), msgspec.json.encode(value))
