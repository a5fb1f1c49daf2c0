package dev.plimsoll.peers.streams;

import dev.plimsoll.peers.Event;
import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** What goes through the repartition topic beside key and time: nine bytes in the place of the whole record. */
final class MeasureSerde {
    private static final int BYTES = Long.BYTES + 1;

    private MeasureSerde() {}

    static Serde<Event> create() {
        return Serdes.serdeFrom(
                (topic, event) -> ByteBuffer.allocate(BYTES)
                        .putLong(event.value)
                        .put((byte) (event.bad ? 1 : 0))
                        .array(),
                (topic, bytes) -> {
                    ByteBuffer buffer = ByteBuffer.wrap(bytes);
                    Event event = new Event();
                    event.value = buffer.getLong();
                    event.bad = buffer.get() != 0;
                    return event;
                });
    }
}
