package dev.plimsoll.peers;

/** What the hourly tables need of a record. */
public final class Event {
    public static final long HOUR_US = 3_600_000_000L;
    private static final long MAX_AHEAD_US = 60_000_000;

    public Source source;
    /** Source and dimensions, joined by {@link Row#SEPARATOR}. */
    public String key;
    public long eventUs;
    /** The measured value, in microseconds. */
    public long value;
    public boolean bad;

    /**
     * Takes in the timestamp that Kafka gave the record; false when the event is too far ahead of it. What is measured
     * of a price is its age, which is known only now.
     */
    public boolean arrived(long timestampMs) {
        long aheadUs = eventUs - timestampMs * 1_000;
        if (source == Source.PRICES) {
            value = Math.max(0, -aheadUs);
        }
        return aheadUs <= MAX_AHEAD_US && value <= Fold.HIGHEST;
    }
}
