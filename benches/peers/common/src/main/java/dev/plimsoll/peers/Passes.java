package dev.plimsoll.peers;

import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The same job over the same records again and again in one JVM, each time under new names: what the first pass costs
 * is the JVM's start and its compilers too, what the others cost is the job.
 */
public final class Passes {
    private static final int PAUSE_MS = 20;

    private Passes() {}

    /** One pass; closed when it is to end. */
    public interface Job {
        AutoCloseable start(String application, String output, Path folder) throws Exception;
    }

    /** A pass ends when the bench has put a file with its number into the folder; the last one never does. */
    public static void run(String application, String output, Path folder, Job job) throws Exception {
        Progress.tell();
        for (int pass = 1; ; pass++) {
            Progress.begin(pass);
            String suffix = "-" + pass;
            try (AutoCloseable running =
                    job.start(application + suffix, output + suffix, folder.resolve("state" + suffix))) {
                while (!Files.exists(folder.resolve("done" + suffix))) {
                    Thread.sleep(PAUSE_MS);
                }
            }
        }
    }
}
