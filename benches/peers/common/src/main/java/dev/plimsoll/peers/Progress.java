package dev.plimsoll.peers;

import java.util.concurrent.atomic.AtomicLong;

/** Tells the bench, twenty times a second, how many records were read and how many of them are in a row. */
public final class Progress {
    private static final AtomicLong READ = new AtomicLong();
    private static final AtomicLong FOLDED = new AtomicLong();
    private static final int PAUSE_MS = 50;

    private Progress() {}

    /** Each is counted by one thread alone, so nothing is needed that costs a fence. */
    public static void read() {
        READ.lazySet(READ.getPlain() + 1);
    }

    public static void folded() {
        FOLDED.lazySet(FOLDED.getPlain() + 1);
    }

    /** A pass begins, and nobody counts yet. */
    static void begin(int pass) {
        READ.set(0);
        FOLDED.set(0);
        System.out.println("pass " + pass);
    }

    static void tell() {
        Thread teller = new Thread(() -> {
            while (true) {
                System.out.println("read " + READ.get() + " folded " + FOLDED.get());
                try {
                    Thread.sleep(PAUSE_MS);
                } catch (InterruptedException e) {
                    return;
                }
            }
        }, "progress");
        teller.setDaemon(true);
        teller.start();
    }
}
