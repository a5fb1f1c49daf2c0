package dev.plimsoll.peers;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;

/** JSON numbers as whole numbers of their source's unit, from their text: a double would lose digits. */
final class Decimal {
    private static final int MAX_DIGITS = 18;
    private static final int MAX_WHOLE_DIGITS = 40;
    private static final int MAX_DECIMALS = 1_000;
    private static final BigInteger LEAST = BigInteger.valueOf(Long.MIN_VALUE);
    private static final BigInteger MOST = BigInteger.valueOf(Long.MAX_VALUE);

    /** The last one scaled had digits beyond the scale. */
    boolean inexact;
    /** The last one scaled does not fit into 64 bits. */
    boolean tooLarge;

    /** 10^scale times the number, rounded half up. */
    long scaled(char[] text, int from, int length, int scale) {
        inexact = false;
        tooLarge = false;
        int at = from;
        int end = from + length;
        boolean negative = text[at] == '-';
        if (negative) {
            at++;
        }
        if (end - at > MAX_DIGITS - scale) {
            return slowly(text, from, length, scale);
        }
        long units = 0;
        int decimals = -1;
        boolean roundUp = false;
        for (; at < end; at++) {
            char c = text[at];
            if (c == '.') {
                decimals = 0;
            } else if (c > '9') {
                return slowly(text, from, length, scale); // an exponent
            } else if (decimals < scale) {
                units = units * 10 + (c - '0');
                decimals += decimals < 0 ? 0 : 1;
            } else {
                roundUp |= decimals == scale && c >= '5';
                inexact |= c != '0';
                decimals++;
            }
        }
        for (int missing = Math.max(decimals, 0); missing < scale; missing++) {
            units *= 10;
        }
        units += roundUp ? 1 : 0;
        return negative ? -units : units;
    }

    private long slowly(char[] text, int from, int length, int scale) {
        BigDecimal number = new BigDecimal(text, from, length);
        // Written out, a number like 1e999999999 or 1e-999999999 would take all memory there is.
        if (number.signum() != 0 && number.precision() - (long) number.scale() > MAX_WHOLE_DIGITS) {
            tooLarge = true;
            return 0;
        }
        if (number.scale() > MAX_DECIMALS || number.signum() == 0) {
            inexact = number.signum() != 0;
            return 0;
        }
        BigDecimal rounded = number.setScale(scale, RoundingMode.HALF_UP);
        inexact = rounded.compareTo(number) != 0;
        BigInteger units = rounded.unscaledValue();
        tooLarge = units.compareTo(LEAST) < 0 || units.compareTo(MOST) > 0;
        return units.longValue();
    }
}
