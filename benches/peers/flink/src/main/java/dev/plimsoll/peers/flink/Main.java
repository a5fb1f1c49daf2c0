package dev.plimsoll.peers.flink;

import dev.plimsoll.peers.Event;
import dev.plimsoll.peers.Passes;
import dev.plimsoll.peers.Source;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.typeutils.ValueTypeInfo;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ExecutionOptions;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.DataStreamUtils;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;

/** `Main BROKERS GROUP OUTPUT_TOPIC FOLDER`: the job on Flink, up to where the topics end now, until it is killed. */
public final class Main {
    private static final TypeInformation<HourFold> FOLD = new ValueTypeInfo<>(HourFold.class);
    private static final TypeInformation<Tuple2<byte[], byte[]>> ROW = Types.TUPLE(
            PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO,
            PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO);

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0];
        Passes.run(arguments[1], arguments[2], Path.of(arguments[3]), (group, output, folder) -> {
            job(brokers, group, output, folder).execute("hours");
            return () -> { };
        });
    }

    private static StreamExecutionEnvironment job(String brokers, String group, String output, Path folder) {
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.createLocalEnvironment(1, settings(folder));
        DataStream<Event> events = environment.fromSource(
                source(brokers, group),
                WatermarkStrategy.<Event>forBoundedOutOfOrderness(Duration.ofSeconds(2))
                        .withTimestampAssigner((event, kafkaMs) -> event.eventUs / 1_000),
                "inputs");
        // With one subtask every key is where it belongs, so nothing is serialized between source and windows.
        DataStreamUtils.reinterpretAsKeyedStream(events, event -> event.key, Types.STRING)
                .window(TumblingEventTimeWindows.of(Duration.ofHours(1)))
                .allowedLateness(Duration.ofHours(2))
                .aggregate(new HourWindow.Add(), new HourWindow.Tell(), FOLD, FOLD, ROW)
                .sinkTo(sink(brokers, group, output));
        return environment;
    }

    private static Configuration settings(Path folder) {
        Configuration settings = new Configuration();
        // No copy between the operators of a chain.
        settings.set(PipelineOptions.OBJECT_REUSE, true);
        // State as objects: RocksDB would decode and encode a histogram for every record.
        settings.set(StateBackendOptions.STATE_BACKEND, "hashmap");
        settings.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofSeconds(1));
        settings.set(CheckpointingOptions.CHECKPOINTING_CONSISTENCY_MODE, CheckpointingMode.EXACTLY_ONCE);
        // The job manager's heap takes 5 MB of state only.
        settings.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        settings.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, folder.toUri().toString());
        // Buffers go on when they are full; the job has none but those of the sink.
        settings.set(ExecutionOptions.BUFFER_TIMEOUT_ENABLED, false);
        // What goes wrong must be seen and not be tried again.
        settings.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
        return settings;
    }

    private static KafkaSource<Event> source(String brokers, String group) {
        return KafkaSource.<Event>builder()
                .setBootstrapServers(brokers)
                .setGroupId(group)
                .setTopics(Source.topics())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setBounded(OffsetsInitializer.latest())
                .setDeserializer(new EventSchema())
                // Polls bring whole batches of every partition.
                .setProperty(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "10000")
                .setProperty(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, String.valueOf(4 << 20))
                .setProperty(ConsumerConfig.FETCH_MIN_BYTES_CONFIG, String.valueOf(256 << 10))
                .setProperty(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, "100")
                .build();
    }

    private static KafkaSink<Tuple2<byte[], byte[]>> sink(String brokers, String prefix, String topic) {
        Properties producer = new Properties();
        // Longer than a checkpoint may take, and within the 15 minutes that brokers allow.
        producer.put(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, "600000");
        producer.put(ProducerConfig.LINGER_MS_CONFIG, "100");
        producer.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        return KafkaSink.<Tuple2<byte[], byte[]>>builder()
                .setBootstrapServers(brokers)
                .setKafkaProducerConfig(producer)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(prefix)
                .setRecordSerializer((row, context, timestamp) -> new ProducerRecord<>(topic, row.f0, row.f1))
                .build();
    }
}
