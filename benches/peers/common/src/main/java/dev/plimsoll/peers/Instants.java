package dev.plimsoll.peers;

/** RFC 3339 by hand: java.time's parser takes longer than all the rest of a record. */
final class Instants {
    static final long NONE = Long.MIN_VALUE;
    private static final int[] DAYS_OF_MONTH = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    private static final int SHORTEST = "2025-10-31T00:00:00Z".length();
    private static final int MICRO_DIGITS = 6;

    private Instants() {}

    /** Microseconds since 1970, floored, or {@link #NONE}. */
    static long micros(char[] text, int from, int length) {
        if (length < SHORTEST || !shaped(text, from)) {
            return NONE;
        }
        int year = digits(text, from, 4);
        int month = digits(text, from + 5, 2);
        int day = digits(text, from + 8, 2);
        int hour = digits(text, from + 11, 2);
        int minute = digits(text, from + 14, 2);
        int second = digits(text, from + 17, 2);
        if ((year | month | day | hour | minute | second) < 0 || !exists(year, month, day)) {
            return NONE;
        }
        if (hour > 23 || minute > 59 || second > 59) {
            return NONE;
        }
        long seconds = daysSince1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        return withRest(text, from + 19, from + length, seconds);
    }

    private static boolean shaped(char[] text, int from) {
        char between = text[from + 10];
        return text[from + 4] == '-'
                && text[from + 7] == '-'
                && (between == 'T' || between == 't' || between == ' ')
                && text[from + 13] == ':'
                && text[from + 16] == ':';
    }

    private static boolean exists(int year, int month, int day) {
        if (month < 1 || month > 12 || day < 1 || day > DAYS_OF_MONTH[month - 1]) {
            return false;
        }
        boolean leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        return month != 2 || day <= 28 || leaps;
    }

    /** The fraction and the zone, which stand behind the second. */
    private static long withRest(char[] text, int from, int end, long seconds) {
        int at = from;
        long micros = 0;
        if (text[at] == '.') {
            int first = ++at;
            for (; at < end && text[at] >= '0' && text[at] <= '9'; at++) {
                if (at - first < MICRO_DIGITS) {
                    micros = micros * 10 + (text[at] - '0');
                }
            }
            if (at == first) {
                return NONE;
            }
            for (int missing = at - first; missing < MICRO_DIGITS; missing++) {
                micros *= 10;
            }
        }
        if (at + 1 == end && (text[at] == 'Z' || text[at] == 'z')) {
            return seconds * 1_000_000 + micros;
        }
        if (at + 6 != end || (text[at] != '+' && text[at] != '-') || text[at + 3] != ':') {
            return NONE;
        }
        int hours = digits(text, at + 1, 2);
        int minutes = digits(text, at + 4, 2);
        if ((hours | minutes) < 0 || hours > 23 || minutes > 59) {
            return NONE;
        }
        int offset = hours * 3_600 + minutes * 60;
        return (seconds - (text[at] == '-' ? -offset : offset)) * 1_000_000 + micros;
    }

    /** Negative when one of them is none. */
    private static int digits(char[] text, int from, int count) {
        int number = 0;
        for (int at = from; at < from + count; at++) {
            int digit = text[at] - '0';
            if (digit < 0 || digit > 9) {
                return -1;
            }
            number = number * 10 + digit;
        }
        return number;
    }

    /** Years begin in March, so that a leap day is the last of its year. */
    private static long daysSince1970(int year, int month, int day) {
        int y = month > 2 ? year : year - 1;
        int dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
        return 365L * y + Math.floorDiv(y, 4) - Math.floorDiv(y, 100) + Math.floorDiv(y, 400) + dayOfYear - 719_468;
    }
}
