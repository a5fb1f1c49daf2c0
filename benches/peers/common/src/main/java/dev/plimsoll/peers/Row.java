package dev.plimsoll.peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/** A row of an hourly table as the record that others read. */
public final class Row {
    public static final char SEPARATOR = '\u001f';
    private static final JsonFactory JSON = new JsonFactory();

    private Row() {}

    public static byte[] key(String key, long hourMs) {
        return (key + SEPARATOR + hourMs).getBytes(StandardCharsets.UTF_8);
    }

    public static byte[] value(String key, long hourMs, Fold fold) {
        ByteArrayOutputStream out = new ByteArrayOutputStream(256);
        try (JsonGenerator json = JSON.createGenerator(out)) {
            json.writeStartObject();
            json.writeArrayFieldStart("key");
            for (String part : key.split(String.valueOf(SEPARATOR), -1)) {
                json.writeString(part);
            }
            json.writeEndArray();
            json.writeNumberField("hour_ms", hourMs);
            json.writeNumberField("event_count", fold.events);
            json.writeNumberField("bad_count", fold.bad);
            json.writeNumberField("p50", fold.values.getValueAtPercentile(50));
            json.writeNumberField("p99", fold.values.getValueAtPercentile(99));
            json.writeNumberField("max", fold.max);
            json.writeEndObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return out.toByteArray();
    }
}
