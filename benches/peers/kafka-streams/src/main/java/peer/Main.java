package peer;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.StreamPartitioner;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Statuses of raw webhooks, folded per message and written to the derived topics, exactly once: what tickfold's
 * processor does, as a Kafka Streams program. System properties set how much state it keeps ({@code peer.state}, lean or
 * same), threads, commit interval and cache; {@code peer.counts} names a file for what it held when it was stopped.
 *
 * <p>{@code java -cp … peer.Main BROKERS RAW_TOPIC PREFIX STATE_DIR}
 */
public final class Main {
    private Main() {}

    public static void main(String[] args) throws InterruptedException {
        if (args.length != 4) {
            System.err.println("usage: peer.Main BROKERS RAW_TOPIC PREFIX STATE_DIR");
            System.exit(2);
        }
        State.Mode mode = State.Mode.valueOf(System.getProperty("peer.state", "same").toUpperCase());
        String counts = System.getProperty("peer.counts");
        KafkaStreams streams = new KafkaStreams(topology(mode, args[1], args[2]), config(args[0], args[2], args[3]));
        CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            ended.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (counts != null) {
                Counts.write(streams, mode, Path.of(counts));
            }
            streams.close(Duration.ofSeconds(20));
        }));
        streams.start();
        ended.await();
        System.exit(1);
    }

    static Topology topology(State.Mode mode, String rawTopic, String prefix) {
        StreamPartitioner<String, Output> asRaw = (topic, key, output, partitions) -> Optional.of(Set.of(output.partition()));
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        Topology topology = new Topology()
                .addSource("raw", bytes, bytes, rawTopic)
                .addProcessor("fold", () -> new Fold(mode), "raw")
                .addStateStore(store(Fold.MESSAGES, new Message.Codec(mode)), "fold")
                .addStateStore(store(Fold.CONVERSATIONS, new Conversation.Codec(mode)), "fold")
                .addStateStore(store(Fold.NUMBERS, new Number.Codec(mode)), "fold")
                .addStateStore(store(Fold.TOTALS, new Total.Codec()), "fold")
                .addStateStore(store(Fold.ACCOUNTS, new Account.Codec(mode)), "fold")
                .addSink("derived", (key, output, context) -> prefix + output.topic(), new StringSerializer(),
                        (topic, output) -> output.value(), asRaw, "fold");
        if (mode.isSame()) {
            topology.addStateStore(Kept.store(), "fold");
        }
        return topology;
    }

    /** RocksDB with a changelog topic, as Streams has it by default; cached, so that a key written often is kept once. */
    private static <V> StoreBuilder<?> store(String name, State.Codec<V> codec) {
        return Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), Serdes.String(), codec.serde())
                .withCachingEnabled();
    }

    private static Properties config(String brokers, String prefix, String stateDir) {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, prefix + "streams");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        config.put(StreamsConfig.STATE_DIR_CONFIG, stateDir);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.getInteger("peer.threads", 2));
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Long.getLong("peer.commit.interval.ms", 100));
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, Long.getLong("peer.cache.bytes", 64L << 20));
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        config.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20);
        return config;
    }
}
