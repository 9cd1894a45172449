package peer;

import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** What tickfold keeps beside its entities: lists of them, timers, and what was decided. */
final class Kept {
    /** Lines of lists, timers and decisions in one store: each further one has a changelog in every transaction. */
    static final String ROWS = "rows";

    /** First byte of a key: (due, kind, key) → nothing, the timer is armed. */
    private static final int TIMER = 1;
    /** Id of an action → what is remembered of it. */
    private static final int DECIDED = 2;
    /** (number, party, falling time, falling wamid) → nothing. */
    private static final int MESSAGE_OF_CONVERSATION = 3;
    /** (listed by, word, id) → nothing. */
    private static final int ACCOUNT_LISTED = 4;
    private static final int NUMBER_LISTED = 5;
    /** (number, falling time, falling wamid) → nothing. */
    private static final int MESSAGE_OF_NUMBER = 6;

    /** What accounts and numbers are listed by. */
    private static final int ALL = 1;
    private static final int ACCOUNT = 2;
    private static final int STATE = 3;

    /** How long anything is kept that does not change. */
    static final long RETENTION = Long.getLong("peer.retention.ms", 90 * 24 * 3_600_000L);
    private static final byte[] NOTHING = {};

    /** What a timer does; the number is the byte in its key. */
    enum Timer {
        EXPIRE_MESSAGE(1),
        EXPIRE_CONVERSATION(2),
        DELIVERY_DEADLINE(8),
        OFFER_RESEND(9),
        FORGET_DECIDED(10),
        ACCOUNT_DUE(12),
        SILENCE_DUE(13);

        final byte number;

        Timer(int number) {
            this.number = (byte) number;
        }

        static Timer of(byte[] key) {
            for (Timer timer : values()) {
                if (timer.number == key[1 + Long.BYTES]) {
                    return timer;
                }
            }
            throw new IllegalStateException("no timer has number " + key[1 + Long.BYTES]);
        }
    }

    interface Fire {
        void fire(Timer timer, String key);
    }

    private final KeyValueStore<byte[], byte[]> rows;

    Kept(ProcessorContext<?, ?> context) {
        rows = context.getStateStore(ROWS);
    }

    /**
     * All of these are written once each, so a cache would only copy them: without one they go to RocksDB and the changelog
     * as they come. {@code peer.kept.cached} tries the other way.
     */
    static StoreBuilder<?> store() {
        Serde<byte[]> bytes = Serdes.ByteArray();
        StoreBuilder<?> rows = Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(ROWS), bytes, bytes);
        return Boolean.getBoolean("peer.kept.cached") ? rows.withCachingEnabled() : rows;
    }

    // --- lists ------------------------------------------------------------------------------------------------------

    /** A message belongs to a number and a conversation from now on, or no longer. */
    void list(boolean belongs, String phoneNumberId, String party, long listTime, String wamid) {
        if (phoneNumberId != null) {
            Key key = new Key().kind(MESSAGE_OF_NUMBER).part(phoneNumberId).falling(listTime, wamid);
            rows.put(key.bytes(), belongs ? NOTHING : null);
        }
        if (phoneNumberId != null && party != null) {
            Key key = new Key().kind(MESSAGE_OF_CONVERSATION).part(phoneNumberId).part(party).falling(listTime, wamid);
            rows.put(key.bytes(), belongs ? NOTHING : null);
        }
    }

    /** A number belongs to an account from now on, or no longer. */
    void listNumber(boolean belongs, String account, String id) {
        if (account != null) {
            rows.put(listed(NUMBER_LISTED, ACCOUNT, account, id), belongs ? NOTHING : null);
        }
    }

    void listNumber(String id) {
        rows.put(listed(NUMBER_LISTED, ALL, "", id), NOTHING);
        rows.put(listed(NUMBER_LISTED, STATE, "active", id), NOTHING);
    }

    void listAccount(String id) {
        rows.put(listed(ACCOUNT_LISTED, ALL, "", id), NOTHING);
        rows.put(listed(ACCOUNT_LISTED, STATE, "active", id), NOTHING);
    }

    private static byte[] listed(int what, int by, String word, String id) {
        return new Key().kind(what).kind(by).part(word).last(id).bytes();
    }

    /** What a row is, by the name that tickfold counts it by. */
    static String kindOf(byte[] key) {
        return switch (key[0]) {
            case TIMER -> "timers." + Timer.of(key).name().toLowerCase();
            case DECIDED -> "decided";
            case MESSAGE_OF_CONVERSATION -> "lists.messages_of_conversation";
            case MESSAGE_OF_NUMBER -> "lists.messages_of_number";
            case ACCOUNT_LISTED -> "lists.accounts";
            case NUMBER_LISTED -> "lists.numbers";
            default -> throw new IllegalStateException("no row has number " + key[0]);
        };
    }

    // --- timers -----------------------------------------------------------------------------------------------------

    void arm(long due, Timer timer, String key) {
        rows.put(new Key().kind(TIMER).rising(due).kind(timer.number).last(key).bytes(), NOTHING);
    }

    /** Fires what is due, in order. */
    void fire(long now, Fire fire) {
        byte[] first = new Key().kind(TIMER).bytes();
        byte[] later = new Key().kind(TIMER).rising(now + 1).bytes();
        try (KeyValueIterator<byte[], byte[]> due = rows.range(first, later)) {
            while (due.hasNext()) {
                byte[] key = due.next().key;
                rows.delete(key);
                int begin = 1 + Long.BYTES + 1;
                fire.fire(Timer.of(key), new String(key, begin, key.length - begin, StandardCharsets.UTF_8));
            }
        }
    }

    // --- decisions --------------------------------------------------------------------------------------------------

    void decide(String action, long offset, long logTime) {
        State.Writer writer = new State.Writer();
        writer.number(offset);
        writer.number(logTime);
        // It was not too late for it.
        writer.truth(false);
        rows.put(new Key().kind(DECIDED).last(action).bytes(), writer.bytes());
        arm(logTime + RETENTION, Timer.FORGET_DECIDED, action);
    }

    void forget(String action) {
        rows.delete(new Key().kind(DECIDED).last(action).bytes());
    }
}
