package peer;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeMap;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;

/** How many rows of each kind there are, read from the stores, under the names that tickfold counts them by. */
final class Counts {
    private final KafkaStreams streams;
    private final TreeMap<String, Long> counts = new TreeMap<>();

    private Counts(KafkaStreams streams) {
        this.streams = streams;
    }

    /** Writes a line per kind: its name, a blank, its number. */
    static void write(KafkaStreams streams, State.Mode mode, Path path) {
        Counts counts = new Counts(streams);
        counts.entities();
        if (mode.isSame()) {
            counts.kept();
        }
        try {
            List<String> lines = counts.counts.entrySet().stream().map(of -> of.getKey() + ' ' + of.getValue()).toList();
            Files.write(path, lines);
        } catch (IOException broken) {
            throw new UncheckedIOException(broken);
        }
    }

    private void entities() {
        ReadOnlyKeyValueStore<String, Message> messages = store(Fold.MESSAGES);
        try (KeyValueIterator<String, Message> rows = messages.all()) {
            while (rows.hasNext()) {
                Message message = rows.next().value;
                add("messages", 1);
                add("history", message.history.size());
                add("charged", message.charged < 0 ? 0 : 1);
            }
        }
        for (String name : List.of(Fold.CONVERSATIONS, Fold.NUMBERS, Fold.TOTALS, Fold.ACCOUNTS)) {
            ReadOnlyKeyValueStore<String, Object> store = store(name);
            try (KeyValueIterator<String, Object> rows = store.all()) {
                rows.forEachRemaining(row -> add(name, 1));
            }
        }
    }

    private void kept() {
        ReadOnlyKeyValueStore<byte[], byte[]> store = store(Kept.ROWS);
        try (KeyValueIterator<byte[], byte[]> rows = store.all()) {
            rows.forEachRemaining(row -> add(Kept.kindOf(row.key), 1));
        }
    }

    private <K, V> ReadOnlyKeyValueStore<K, V> store(String name) {
        return streams.store(StoreQueryParameters.fromNameAndType(name, QueryableStoreTypes.keyValueStore()));
    }

    private void add(String kind, long more) {
        if (more > 0) {
            counts.merge(kind, more, Long::sum);
        }
    }
}
