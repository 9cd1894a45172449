package peer;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/** What tickfold keeps beside its entities: lists of them, timers, what was decided, and transitions for watchers. */
final class Kept {
    /** (list, its words, falling time, falling wamid or id) → nothing. */
    static final String LISTS = "lists";
    /** (due, kind, key) → nothing: the timer is armed. */
    static final String TIMERS = "timers";
    /** Id of an action → what is remembered of it. */
    static final String DECIDED = "decided";
    /** (raw offset, ordinal) → transition, for a day. */
    static final String TRANSITIONS = "transitions";

    /** First byte of the key of a line. */
    static final int MESSAGE_OF_CONVERSATION = 1;
    static final int ACCOUNT_LISTED = 2;
    static final int NUMBER_LISTED = 3;

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
                if (timer.number == key[Long.BYTES]) {
                    return timer;
                }
            }
            throw new IllegalStateException("no timer has number " + key[Long.BYTES]);
        }
    }

    interface Fire {
        void fire(Timer timer, String key);
    }

    private final KeyValueStore<byte[], byte[]> lists;
    private final KeyValueStore<byte[], byte[]> timers;
    private final KeyValueStore<String, Decided> decided;
    private final WindowStore<byte[], byte[]> transitions;

    Kept(ProcessorContext<?, ?> context) {
        lists = context.getStateStore(LISTS);
        timers = context.getStateStore(TIMERS);
        decided = context.getStateStore(DECIDED);
        transitions = context.getStateStore(TRANSITIONS);
    }

    /**
     * Lines, timers and transitions are written once each, so a cache would only copy them: without one they go to RocksDB
     * and the changelog as they come.
     */
    static List<StoreBuilder<?>> stores() {
        Duration day = Duration.ofDays(1);
        return List.of(
                Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(LISTS), Serdes.ByteArray(), Serdes.ByteArray()),
                Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(TIMERS), Serdes.ByteArray(), Serdes.ByteArray()),
                Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(DECIDED), Serdes.String(),
                        new Decided.Codec().serde()),
                Stores.windowStoreBuilder(Stores.persistentWindowStore(TRANSITIONS, day, Duration.ofMillis(1), false),
                        Serdes.ByteArray(), Serdes.ByteArray()));
    }

    // --- lists ------------------------------------------------------------------------------------------------------

    /** A message belongs to a conversation from now on, or no longer. */
    void list(boolean belongs, String phoneNumberId, String party, long listTime, String wamid) {
        if (phoneNumberId != null && party != null) {
            Key key = new Key().kind(MESSAGE_OF_CONVERSATION).part(phoneNumberId).part(party).falling(listTime, wamid);
            lists.put(key.bytes(), belongs ? NOTHING : null);
        }
    }

    /** A number belongs to an account from now on, or no longer. */
    void listNumber(boolean belongs, String account, String id) {
        if (account != null) {
            lists.put(listed(NUMBER_LISTED, ACCOUNT, account, id), belongs ? NOTHING : null);
        }
    }

    void listNumber(String id) {
        lists.put(listed(NUMBER_LISTED, ALL, "", id), NOTHING);
        lists.put(listed(NUMBER_LISTED, STATE, "active", id), NOTHING);
    }

    void listAccount(String id) {
        lists.put(listed(ACCOUNT_LISTED, ALL, "", id), NOTHING);
        lists.put(listed(ACCOUNT_LISTED, STATE, "active", id), NOTHING);
    }

    private static byte[] listed(int what, int by, String word, String id) {
        return new Key().kind(what).kind(by).part(word).last(id).bytes();
    }

    /** What a line is in, from its key. */
    static String listOf(byte[] key) {
        return switch (key[0]) {
            case MESSAGE_OF_CONVERSATION -> "lists.messages_of_conversation";
            case ACCOUNT_LISTED -> "lists.accounts";
            case NUMBER_LISTED -> "lists.numbers";
            default -> throw new IllegalStateException("no list has number " + key[0]);
        };
    }

    // --- timers -----------------------------------------------------------------------------------------------------

    void arm(long due, Timer timer, String key) {
        timers.put(new Key().rising(due).kind(timer.number).last(key).bytes(), NOTHING);
    }

    /** Fires what is due, in order. */
    void fire(long now, Fire fire) {
        byte[] later = new Key().rising(now + 1).bytes();
        try (KeyValueIterator<byte[], byte[]> due = timers.range(null, later)) {
            while (due.hasNext()) {
                byte[] key = due.next().key;
                timers.delete(key);
                int begin = Long.BYTES + 1;
                fire.fire(Timer.of(key), new String(key, begin, key.length - begin, StandardCharsets.UTF_8));
            }
        }
    }

    // --- decisions and transitions ----------------------------------------------------------------------------------

    void decide(String action, long offset, long logTime) {
        decided.put(action, new Decided(offset, logTime, false));
        arm(logTime + RETENTION, Timer.FORGET_DECIDED, action);
    }

    void forget(String action) {
        decided.delete(action);
    }

    void transition(long offset, int ordinal, long logTime, byte[] value) {
        transitions.put(new Key().rising(offset).rising(ordinal).bytes(), value, logTime);
    }
}
