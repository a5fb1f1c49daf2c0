package dev.plimsoll.peers.streams;

import dev.plimsoll.peers.Event;
import dev.plimsoll.peers.Progress;
import dev.plimsoll.peers.Row;
import java.time.Duration;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;

/** Adds each event to the row of its key and hour, and tells once a second which rows changed. */
final class HourProcessor implements Processor<String, Event, byte[], byte[]> {
    private static final long HOUR_MS = 3_600_000;
    private static final long LATENESS_MS = 2 * HOUR_MS + 2_000;
    private static final Duration TELL_EVERY = Duration.ofSeconds(1);

    private final String storeName;
    private ProcessorContext<byte[], byte[]> context;
    private HourStore rows;
    private long newestMs;

    HourProcessor(String storeName) {
        this.storeName = storeName;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        rows = context.getStateStore(storeName);
        context.schedule(TELL_EVERY, PunctuationType.WALL_CLOCK_TIME, now -> tell());
    }

    @Override
    public void process(Record<String, Event> record) {
        long atMs = record.timestamp();
        if (atMs >= newestMs - LATENESS_MS) {
            newestMs = Math.max(newestMs, atMs);
            rows.add(record.key(), atMs - atMs % HOUR_MS, record.value().value, record.value().bad);
            Progress.folded();
        }
    }

    private void tell() {
        rows.tell(row -> context.forward(new Record<>(
                Row.key(row.key, row.hourMs), Row.value(row.key, row.hourMs, row.fold), row.hourMs)));
        long keptMs = newestMs - LATENESS_MS - HOUR_MS;
        if (rows.hasBefore(keptMs)) {
            rows.expire(keptMs);
        }
    }
}
