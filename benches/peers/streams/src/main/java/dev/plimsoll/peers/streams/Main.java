package dev.plimsoll.peers.streams;

import dev.plimsoll.peers.Passes;
import dev.plimsoll.peers.Source;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;

/** `Main BROKERS APPLICATION OUTPUT_TOPIC FOLDER`: the job on Kafka Streams, until it is killed. */
public final class Main {
    private static final String STORE = "hours";

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0];
        Passes.run(arguments[1], arguments[2], Path.of(arguments[3]), (application, output, folder) -> {
            KafkaStreams streams = new KafkaStreams(job(output), settings(brokers, application, folder));
            streams.setUncaughtExceptionHandler(error -> {
                error.printStackTrace();
                return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
            });
            streams.start();
            return streams;
        });
    }

    private static Topology job(String output) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(HourStore.builder(STORE));
        builder.stream(
                        Source.topics(),
                        Consumed.with(Serdes.ByteArray(), EventSerde.create())
                                .withTimestampExtractor(new EventSerde.Time()))
                .selectKey((key, event) -> event.key)
                .repartition(Repartitioned.with(Serdes.String(), MeasureSerde.create()).withName("by-dimensions"))
                .process(() -> new HourProcessor(STORE), STORE)
                .to(output, Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
        return builder.build();
    }

    private static Properties settings(String brokers, String application, Path folder) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder.toString());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        // One core, one thread: more would only take turns on it.
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        // A tenth of the transactions that the default of 100 ms under exactly-once makes.
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1_000);
        // No store here has Kafka Streams' cache: HourStore holds objects.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        // Rows do not depend on the order between partitions, so no task waits for one that is empty.
        settings.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, -1L);
        // Fetched partitions are paused above this many records; at the default of 1,000 that is after every poll.
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20_000);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        // Polls bring whole batches of every partition.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
        // The repartition topic is behind by what was just written: few fetches of much, and not many of little.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MIN_BYTES_CONFIG), 256 << 10);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG), 100);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        // Large batches of short records, and lz4 for they are alike.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        return settings;
    }
}
