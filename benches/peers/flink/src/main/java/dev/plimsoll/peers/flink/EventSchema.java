package dev.plimsoll.peers.flink;

import dev.plimsoll.peers.Decoder;
import dev.plimsoll.peers.Event;
import dev.plimsoll.peers.Progress;
import dev.plimsoll.peers.Source;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** The inputs' records; what is no event is left out. */
final class EventSchema implements KafkaRecordDeserializationSchema<Event> {
    private static final long serialVersionUID = 1;

    private transient Decoder decoder;
    /** One object for all events: nothing behind keeps it. */
    private transient Event event;

    @Override
    public void open(DeserializationSchema.InitializationContext context) {
        decoder = new Decoder();
        event = new Event();
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Event> out) {
        Progress.read();
        if (decoder.decode(Source.of(record.topic()), record.value(), event) && event.arrived(record.timestamp())) {
            out.collect(event);
        }
    }

    @Override
    public TypeInformation<Event> getProducedType() {
        return TypeInformation.of(Event.class);
    }
}
