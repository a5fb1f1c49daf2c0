package dev.plimsoll.peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.util.Locale;

/**
 * Bytes to events: one pass of Jackson's streaming parser, no tree and no doubles. All declared fields are checked, as
 * Plimsoll checks them, for a record with a fault in any of them is in no row.
 *
 * <p>Used by one thread.
 */
public final class Decoder {
    private static final int MAX_ROUTE_BYTES = 256;
    private static final int MILLIONTHS = 6;
    private static final int THOUSANDTHS = 3;
    private static final int MAX_STATUS = 599;

    /** One factory for all parsers: it keeps the names of fields it has seen. */
    private final JsonFactory json = new JsonFactory();
    private final Decimal decimal = new Decimal();

    // The record that is being decoded. The names of its dimensions say what they are of each source.
    private boolean right;
    private long eventUs;
    private String first;
    private String second;
    private String third;
    private String fourth;
    private boolean measured;
    private boolean hasOther;
    private long value;
    private boolean bad;

    /** False for a record that is no event; `event` is then half written. */
    public boolean decode(Source source, byte[] payload, Event event) {
        forget();
        try (JsonParser parser = json.createParser(payload)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                return false;
            }
            String name;
            while ((name = parser.nextFieldName()) != null) {
                JsonToken token = parser.nextToken();
                if (token != JsonToken.VALUE_NULL) {
                    field(source, parser, name, token);
                }
                if (token.isStructStart()) {
                    parser.skipChildren();
                }
            }
            if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
                return false;
            }
        } catch (IOException e) {
            return false; // no JSON
        }
        return right && complete(source) && fill(source, event);
    }

    private void forget() {
        right = true;
        eventUs = Instants.NONE;
        first = null;
        second = null;
        third = null;
        fourth = null;
        measured = false;
        hasOther = false;
        value = 0;
        bad = false;
    }

    private void field(Source source, JsonParser parser, String name, JsonToken token) throws IOException {
        switch (source) {
            case PRICES -> price(parser, name, token);
            case PREDICTIONS -> prediction(parser, name, token);
            case REQUESTS -> request(parser, name, token);
        }
    }

    private void price(JsonParser parser, String name, JsonToken token) throws IOException {
        switch (name) {
            case "timestamp" -> time(parser, token);
            case "commodity" -> first = text(parser, token);
            case "currency" -> second = text(parser, token);
            case "unit" -> third = text(parser, token);
            case "region" -> fourth = text(parser, token);
            case "price" -> {
                measured = true;
                number(parser, token, MILLIONTHS, 1, Long.MAX_VALUE);
            }
            case "volume" -> number(parser, token, MILLIONTHS, 0, Long.MAX_VALUE);
            case "source" -> isText(token);
            default -> { }
        }
    }

    private void prediction(JsonParser parser, String name, JsonToken token) throws IOException {
        switch (name) {
            case "ts" -> time(parser, token);
            case "model" -> first = text(parser, token);
            case "model_version" -> second = text(parser, token);
            case "prediction" -> {
                hasOther = true;
                number(parser, token, MILLIONTHS, Long.MIN_VALUE, Long.MAX_VALUE);
            }
            case "inference_ms" -> {
                measured = true;
                value = number(parser, token, THOUSANDTHS, 0, Fold.HIGHEST);
            }
            case "confidence" -> number(parser, token, MILLIONTHS, 0, 1_000_000);
            case "actual" -> number(parser, token, MILLIONTHS, Long.MIN_VALUE, Long.MAX_VALUE);
            case "correct" -> right &= token.isBoolean();
            case "error" -> {
                isText(token);
                bad = true;
            }
            case "commodity", "trace_id" -> isText(token);
            default -> { }
        }
    }

    private void request(JsonParser parser, String name, JsonToken token) throws IOException {
        switch (name) {
            case "ts" -> time(parser, token);
            case "service" -> first = text(parser, token);
            case "route" -> second = text(parser, token);
            case "method" -> third = text(parser, token);
            case "status" -> {
                hasOther = true;
                long status = whole(parser, token, 0, MAX_STATUS);
                bad = status >= 500 || status == 0 || status == 408 || status == 499;
            }
            case "duration_ms" -> {
                measured = true;
                value = number(parser, token, THOUSANDTHS, 0, Fold.HIGHEST);
            }
            case "bytes" -> whole(parser, token, Long.MIN_VALUE, Long.MAX_VALUE);
            case "region", "user_id", "trace_id" -> isText(token);
            default -> { }
        }
    }

    private void time(JsonParser parser, JsonToken token) throws IOException {
        if (token == JsonToken.VALUE_STRING) {
            eventUs = Instants.micros(parser.getTextCharacters(), parser.getTextOffset(), parser.getTextLength());
        }
    }

    private void isText(JsonToken token) {
        right &= token == JsonToken.VALUE_STRING;
    }

    private String text(JsonParser parser, JsonToken token) throws IOException {
        isText(token);
        return parser.getText();
    }

    private long number(JsonParser parser, JsonToken token, int scale, long min, long max) throws IOException {
        if (!token.isNumeric()) {
            right = false;
            return 0;
        }
        long units = decimal.scaled(
                parser.getTextCharacters(), parser.getTextOffset(), parser.getTextLength(), scale);
        right &= !decimal.tooLarge && units >= min && units <= max;
        return units;
    }

    private long whole(JsonParser parser, JsonToken token, long min, long max) throws IOException {
        long number = number(parser, token, 0, min, max);
        right &= !decimal.inexact;
        return number;
    }

    private boolean complete(Source source) {
        return eventUs != Instants.NONE && measured && switch (source) {
            case PRICES -> isFilled(first);
            case PREDICTIONS -> isFilled(first) && isFilled(second) && hasOther;
            case REQUESTS -> isFilled(first) && isFilled(second) && isFilled(third) && hasOther && fits(second);
        };
    }

    private static boolean isFilled(String text) {
        return text != null && !text.isEmpty();
    }

    /** Counting bytes takes long, so it is left to routes that may have too many. */
    private static boolean fits(String route) {
        return route.length() <= MAX_ROUTE_BYTES / 3
                || route.getBytes(java.nio.charset.StandardCharsets.UTF_8).length <= MAX_ROUTE_BYTES;
    }

    private boolean fill(Source source, Event event) {
        event.source = source;
        event.eventUs = eventUs;
        event.value = value;
        event.bad = bad;
        char s = Row.SEPARATOR;
        event.key = switch (source) {
            case PRICES ->
                source.topic + s + first + s + orEmpty(second) + s + orEmpty(third) + s + orEmpty(fourth);
            case PREDICTIONS -> source.topic + s + first + s + second;
            case REQUESTS -> source.topic + s + first + s + second + s + third.toUpperCase(Locale.ROOT);
        };
        return true;
    }

    private static String orEmpty(String text) {
        return text == null ? "" : text;
    }
}
