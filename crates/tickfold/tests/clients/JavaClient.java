import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What Java's own client sees of our topics, for {@code kafka_clients.rs} to judge.
 *
 * <p>Run as one source file: {@code java -cp 'JARS/*' JavaClient.java BROKERS SCRATCH RAW DERIVED...}. Prints a line
 * per fact, fields separated by tabs, bytes in base64, {@code -} for none:
 *
 * <ul>
 *   <li>{@code default} or {@code read_committed}, topic, partition, offset, key, value: each record up to the end, read
 *       with Java's default isolation and with the one that our pages ask for. Of the raw topic only once, no value.
 *   <li>{@code placed}, key, partition: where Java's producer put a record with a key that the raw topic has. It wrote to
 *       SCRATCH, a topic of its own with as many partitions as the raw topic.
 * </ul>
 *
 * Nothing is set that is not needed: defaults are what is looked at.
 */
public final class JavaClient {
  private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
  private static final Duration PATIENCE = Duration.ofSeconds(30);

  public static void main(String[] args) throws Exception {
    String brokers = args[0];
    String scratch = args[1];
    String raw = args[2];
    List<String> derived = List.of(args).subList(3, args.length);

    Set<String> keys = new LinkedHashSet<>();
    int partitions;
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers, "read_committed")) {
      partitions = consumer.partitionsFor(raw).size();
      for (ConsumerRecord<byte[], byte[]> record : readAll(consumer, List.of(raw))) {
        print("read_committed", record, "-");
        if (record.key() != null) {
          keys.add(base64(record.key()));
        }
      }
      for (ConsumerRecord<byte[], byte[]> record : readAll(consumer, derived)) {
        print("read_committed", record, base64(record.value()));
      }
    }
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers, null)) {
      for (ConsumerRecord<byte[], byte[]> record : readAll(consumer, derived)) {
        print("default", record, base64(record.value()));
      }
    }
    place(brokers, scratch, partitions, keys);
    OUT.flush();
    if (OUT.checkError()) {
      throw new IOException("nobody reads what is printed");
    }
  }

  private static KafkaConsumer<byte[], byte[]> consumer(String brokers, String isolation) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    if (isolation != null) {
      properties.put("isolation.level", isolation);
    }
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  /** All records of the topics up to where they end now, as the consumer's isolation sees their end. */
  private static List<ConsumerRecord<byte[], byte[]>> readAll(
      KafkaConsumer<byte[], byte[]> consumer, List<String> topics) {
    List<TopicPartition> places = new ArrayList<>();
    for (String topic : topics) {
      consumer.partitionsFor(topic).forEach(info -> places.add(new TopicPartition(topic, info.partition())));
    }
    consumer.assign(places);
    consumer.seekToBeginning(places);
    Map<TopicPartition, Long> ends = consumer.endOffsets(places);
    List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!places.stream().allMatch(place -> consumer.position(place) >= ends.get(place))) {
      if (System.nanoTime() > deadline) {
        throw new IllegalStateException("not read to the end in " + PATIENCE);
      }
      consumer.poll(Duration.ofMillis(100)).forEach(records::add);
    }
    return records;
  }

  /** Produces a record for each key, with a producer that is told nothing about partitions. */
  private static void place(String brokers, String scratch, int partitions, Set<String> keys) throws Exception {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    try (Admin admin = Admin.create(properties)) {
      admin.createTopics(List.of(new NewTopic(scratch, partitions, (short) 1))).all().get();
    }
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (String key : keys) {
        sent.add(producer.send(new ProducerRecord<>(scratch, Base64.getDecoder().decode(key), new byte[0])));
      }
      producer.flush();
      int at = 0;
      for (String key : keys) {
        OUT.println(String.join("\t", "placed", key, Integer.toString(sent.get(at).get().partition())));
        at++;
      }
    }
  }

  private static void print(String isolation, ConsumerRecord<byte[], byte[]> record, String value) {
    OUT.println(
        String.join(
            "\t",
            isolation,
            record.topic(),
            Integer.toString(record.partition()),
            Long.toString(record.offset()),
            base64(record.key()),
            value));
  }

  private static String base64(byte[] bytes) {
    return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
  }
}
