package dev.plimsoll.peers;

import java.util.Arrays;
import java.util.List;

/** The three inputs. */
public enum Source {
    PRICES("commodity-prices"),
    PREDICTIONS("ml-predictions"),
    REQUESTS("request-log");

    public final String topic;

    Source(String topic) {
        this.topic = topic;
    }

    public static List<String> topics() {
        return Arrays.stream(values()).map(source -> source.topic).toList();
    }

    /** The first letters of the three differ. */
    public static Source of(String topic) {
        return switch (topic.charAt(0)) {
            case 'c' -> PRICES;
            case 'm' -> PREDICTIONS;
            default -> REQUESTS;
        };
    }
}
