package dev.plimsoll.peers.streams;

import dev.plimsoll.peers.Fold;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.internals.CacheFlushListener;
import org.apache.kafka.streams.state.internals.CachedStateStore;

/**
 * Rows by key and hour as objects on the heap, written through to an in-memory store with a changelog before each
 * commit.
 *
 * <p>The stores that Kafka Streams ships hold bytes, in its cache too: a histogram of some kilobytes would be decoded
 * and encoded again for every record, which takes many times what all else does. A store that is asked to flush before
 * a commit has to be a `CachedStateStore`, which is public but not documented.
 */
final class HourStore implements StateStore, CachedStateStore<String, Fold> {
    private final KeyValueStore<String, byte[]> written;
    private final Map<Long, Map<String, Hour>> hours = new HashMap<>();
    private final List<Hour> unwritten = new ArrayList<>();
    private final List<Hour> untold = new ArrayList<>();
    /** The hour of the last record, which is mostly that of the next. */
    private long lastHourMs = Long.MIN_VALUE;
    private Map<String, Hour> last = Map.of();

    private HourStore(KeyValueStore<String, byte[]> written) {
        this.written = written;
    }

    /** A row, and whether it changed since it was written to the changelog and told to readers. */
    static final class Hour {
        final String key;
        final long hourMs;
        final Fold fold = new Fold();
        private boolean isUnwritten;
        private boolean isUntold;

        private Hour(String key, long hourMs) {
            this.key = key;
            this.hourMs = hourMs;
        }

        private String name() {
            return prefix(hourMs) + key;
        }
    }

    void add(String key, long hourMs, long value, boolean bad) {
        if (hourMs != lastHourMs) {
            last = hours.computeIfAbsent(hourMs, this::restored);
            lastHourMs = hourMs;
        }
        Hour row = last.get(key);
        if (row == null) {
            row = new Hour(key, hourMs);
            last.put(key, row);
        }
        row.fold.add(value, bad);
        if (!row.isUnwritten) {
            row.isUnwritten = true;
            unwritten.add(row);
        }
        if (!row.isUntold) {
            row.isUntold = true;
            untold.add(row);
        }
    }

    /** Hands out the rows that changed since the last time. */
    void tell(Consumer<Hour> each) {
        for (Hour row : untold) {
            each.accept(row);
            row.isUntold = false;
        }
        untold.clear();
    }

    /** Forgets the hours that began before a time; their rows have been told. */
    void expire(long beforeMs) {
        flushCache();
        for (Iterator<Map.Entry<Long, Map<String, Hour>>> all = hours.entrySet().iterator(); all.hasNext(); ) {
            Map.Entry<Long, Map<String, Hour>> hour = all.next();
            if (hour.getKey() < beforeMs) {
                hour.getValue().values().forEach(row -> written.delete(row.name()));
                all.remove();
                lastHourMs = Long.MIN_VALUE;
            }
        }
    }

    boolean hasBefore(long beforeMs) {
        return hours.keySet().stream().anyMatch(hourMs -> hourMs < beforeMs);
    }

    private static String prefix(long hourMs) {
        return hourMs + "/";
    }

    /** The rows of an hour as they were before a restart. */
    private Map<String, Hour> restored(long hourMs) {
        Map<String, Hour> rows = new HashMap<>();
        String prefix = prefix(hourMs);
        try (KeyValueIterator<String, byte[]> all = written.range(prefix, prefix + Character.MAX_VALUE)) {
            all.forEachRemaining(entry -> {
                Hour row = new Hour(entry.key.substring(prefix.length()), hourMs);
                row.fold.decode(entry.value);
                rows.put(row.key, row);
            });
        }
        return rows;
    }

    @Override
    public void flushCache() {
        for (Hour row : unwritten) {
            written.put(row.name(), row.fold.encode());
            row.isUnwritten = false;
        }
        unwritten.clear();
    }

    @Override
    public void clearCache() {
        hours.clear();
        unwritten.clear();
        untold.clear();
        lastHourMs = Long.MIN_VALUE;
    }

    @Override
    public boolean setFlushListener(CacheFlushListener<String, Fold> listener, boolean sendOldValues) {
        return false;
    }

    @Override
    public String name() {
        return written.name();
    }

    @Override
    public void init(StateStoreContext context, StateStore root) {
        written.init(context, root);
    }

    @Override
    public void flush() {
        written.flush();
    }

    @Override
    public void close() {
        clearCache();
        written.close();
    }

    @Override
    public boolean persistent() {
        return false;
    }

    @Override
    public boolean isOpen() {
        return written.isOpen();
    }

    static StoreBuilder<HourStore> builder(String name) {
        StoreBuilder<KeyValueStore<String, byte[]>> written = Stores
                .keyValueStoreBuilder(Stores.inMemoryKeyValueStore(name), Serdes.String(), Serdes.ByteArray())
                .withCachingDisabled();
        return new Builder(written);
    }

    private record Builder(StoreBuilder<KeyValueStore<String, byte[]>> written) implements StoreBuilder<HourStore> {
        @Override
        public HourStore build() {
            return new HourStore(written.build());
        }

        @Override
        public StoreBuilder<HourStore> withCachingEnabled() {
            return this;
        }

        @Override
        public StoreBuilder<HourStore> withCachingDisabled() {
            return this;
        }

        @Override
        public StoreBuilder<HourStore> withLoggingEnabled(Map<String, String> config) {
            written.withLoggingEnabled(config);
            return this;
        }

        @Override
        public StoreBuilder<HourStore> withLoggingDisabled() {
            written.withLoggingDisabled();
            return this;
        }

        @Override
        public Map<String, String> logConfig() {
            return written.logConfig();
        }

        @Override
        public boolean loggingEnabled() {
            return written.loggingEnabled();
        }

        @Override
        public String name() {
            return written.name();
        }
    }
}
