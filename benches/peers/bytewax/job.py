"""`python -m bytewax.run "job.py:job('BROKERS', 'OUTPUT_TOPIC')"`: the job on Bytewax, until it is killed."""

import gc

import bytewax.operators as op
import msgspec
import progress
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from events import SEPARATOR, TOPICS, decode
from hours import HOUR_US, Hours, Part

CONSUMER = {
    # Each of the 36 partitions has a consumer, and each of those would fetch 64 MB ahead.
    "queued.max.messages.kbytes": "4096",
    # How long one whose queue was full rests; by default it is a second, in which it may have run dry.
    "fetch.queue.backoff.ms": "100",
    # Whole batches of the partition.
    "fetch.message.max.bytes": "4194304",
    # What each would report every second as JSON, for a gauge that nobody reads here.
    "statistics.interval.ms": "0",
}
PRODUCER = {"compression.type": "lz4"}


def job(brokers, output):
    progress.begin()
    # Nothing here makes cycles, and looking for them among tens of thousands of messages takes long.
    gc.disable()
    flow = Dataflow("hours")
    source = KafkaSource([brokers], TOPICS, add_config=CONSUMER)
    messages = op.input("inputs", flow, source)
    # The batches of all partitions come as one, a thousand records of each. They are put together by key before they go
    # on: an item that is routed costs more than a value in a list.
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
