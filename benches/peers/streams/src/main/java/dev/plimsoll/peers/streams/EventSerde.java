package dev.plimsoll.peers.streams;

import dev.plimsoll.peers.Decoder;
import dev.plimsoll.peers.Event;
import dev.plimsoll.peers.Progress;
import dev.plimsoll.peers.Source;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.TimestampExtractor;

/** The inputs' records. What is no event becomes null, which has no time and so is left out. */
final class EventSerde {
    private static final long NOT_AN_EVENT = -1;

    private EventSerde() {}

    static Serde<Event> create() {
        Decoder decoder = new Decoder();
        Deserializer<Event> deserializer = (topic, bytes) -> {
            Progress.read();
            Event event = new Event();
            return decoder.decode(Source.of(topic), bytes, event) ? event : null;
        };
        return Serdes.serdeFrom((topic, event) -> { throw new UnsupportedOperationException(); }, deserializer);
    }

    /** The event's own time, once Kafka's is taken note of. */
    static final class Time implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            Event event = (Event) record.value();
            return event != null && event.arrived(record.timestamp()) ? event.eventUs / 1_000 : NOT_AN_EVENT;
        }
    }
}
