package peer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What is known of a message of ours. Facts are joined, so neither order nor repetition changes them. */
final class Message {
    /** What was decided for it, each once. */
    static final int FALLBACK = 1;
    static final int SUPERSEDED = 2;
    static final int SEND_TEMPLATE = 4;
    static final int BACK_OFF = 8;

    String wabaId;
    String phoneNumberId;
    String party;
    String callbackData;
    /** Bits of the statuses that were reported. */
    int reported;
    /** Earliest known time of each. */
    final long[] times = new long[Status.ALL.length];
    Pricing pricing;
    /** In order of code. */
    final List<Failure> failures = new ArrayList<>(0);
    final Journal journal;
    int decided;
    /** Place in the list of its conversation: time of the first event seen. */
    long listTime;
    /** Each new fact once; without all state failures alone, which may be judged again. */
    final List<Told> history = new ArrayList<>(4);
    /** Raw offset of the record that told its charge last. */
    long charged = -1;

    Message(Journal journal) {
        this.journal = journal;
        Arrays.fill(times, State.NO_TIME);
    }

    boolean has(Status status) {
        return (reported & 1 << status.ordinal()) != 0;
    }

    /** The greatest that was reported; null before the first. */
    Status shown() {
        return reported == 0 ? null : Status.ALL[31 - Integer.numberOfLeadingZeros(reported)];
    }

    /** Learns everything an item says; true if that was anything new. */
    boolean join(Item item) {
        boolean learned = false;
        if (item.wabaId != null && (wabaId == null || item.wabaId.compareTo(wabaId) < 0)) {
            wabaId = item.wabaId;
            learned = true;
        }
        String number = item.phoneNumberId();
        if (number != null && (phoneNumberId == null || number.compareTo(phoneNumberId) < 0)) {
            phoneNumberId = number;
            learned = true;
        }
        if (item.party != null && (party == null || item.party.compareTo(party) < 0)) {
            party = item.party;
            learned = true;
        }
        if (Pricing.compare(callbackData, item.callbackData) < 0) {
            callbackData = item.callbackData;
            learned = true;
        }
        int at = item.status.ordinal();
        if (!has(item.status)) {
            reported |= 1 << at;
            times[at] = item.time;
            learned = true;
        } else if (item.time != State.NO_TIME && (times[at] == State.NO_TIME || item.time < times[at])) {
            times[at] = item.time;
            learned = true;
        }
        if (Pricing.compare(pricing, item.pricing) < 0) {
            pricing = item.pricing;
            learned = true;
        }
        for (Failure failure : item.failures) {
            learned |= join(failure);
        }
        return learned;
    }

    private boolean join(Failure failure) {
        int at = 0;
        while (at < failures.size() && failures.get(at).code < failure.code) {
            at++;
        }
        if (at < failures.size() && failures.get(at).code == failure.code) {
            return failures.get(at).join(failure);
        }
        Failure mine = new Failure(failure.code);
        mine.join(failure);
        failures.add(at, mine);
        return true;
    }

    boolean hasFailure(long code) {
        for (Failure failure : failures) {
            if (failure.code == code) {
                return true;
            }
        }
        return false;
    }

    /** The failure with the earliest known time, then the lowest code. */
    Failure firstFailure() {
        Failure first = null;
        for (Failure failure : failures) {
            boolean earlier = first == null || (failure.time != State.NO_TIME && (first.time == State.NO_TIME || failure.time < first.time));
            first = earlier ? failure : first;
        }
        return first;
    }

    boolean isPriced() {
        return pricing != null && pricing.category() != null;
    }

    /** Pricing category as the rules name it. */
    String category() {
        return isPriced() ? Pricing.normal(pricing.category()) : "unknown";
    }

    /** A message is on its way, and how long that may take can be told. */
    boolean isAwaited() {
        return isPriced() && (has(Status.SENT) || has(Status.PENDING));
    }

    /** A login code that the customer has seen. */
    boolean isReadCode() {
        return has(Status.READ) && isLoginCode();
    }

    boolean isLoginCode() {
        return category().startsWith("authentication");
    }

    boolean isDelivered() {
        Status shown = shown();
        return shown != null && shown.isDelivery();
    }

    long latestTime() {
        long latest = State.NO_TIME;
        for (long time : times) {
            latest = Math.max(latest, time);
        }
        return latest;
    }

    record Codec(State.Mode mode) implements State.Codec<Message> {
        @Override
        public void write(Message message, State.Writer to) {
            message.journal.write(to, mode);
            to.small(message.decided);
            to.text(message.wabaId);
            to.text(message.phoneNumberId);
            to.text(message.party);
            to.text(message.callbackData);
            to.small(message.reported);
            for (int at = 0; at < message.times.length; at++) {
                if ((message.reported & 1 << at) != 0) {
                    to.number(message.times[at]);
                }
            }
            Pricing.write(message.pricing, to);
            to.small(message.failures.size());
            for (Failure failure : message.failures) {
                to.number(failure.code);
                to.number(failure.time);
                to.text(failure.title);
                to.text(failure.message);
                to.text(failure.details);
            }
            if (mode.isSame()) {
                to.number(message.listTime);
                to.number(message.charged);
            }
            to.small(message.history.size());
            for (Told told : message.history) {
                told.write(to, mode);
            }
        }

        @Override
        public Message read(State.Reader from) {
            Message message = new Message(Journal.read(from, mode));
            message.decided = from.small();
            message.wabaId = from.text();
            message.phoneNumberId = from.text();
            message.party = from.text();
            message.callbackData = from.text();
            message.reported = from.small();
            for (int at = 0; at < message.times.length; at++) {
                if ((message.reported & 1 << at) != 0) {
                    message.times[at] = from.number();
                }
            }
            message.pricing = Pricing.read(from);
            for (int left = from.small(); left > 0; left--) {
                Failure failure = new Failure(from.number());
                failure.time = from.number();
                failure.title = from.text();
                failure.message = from.text();
                failure.details = from.text();
                message.failures.add(failure);
            }
            if (mode.isSame()) {
                message.listTime = from.number();
                message.charged = from.number();
            }
            for (int left = from.small(); left > 0; left--) {
                message.history.add(Told.read(from, mode));
            }
            return message;
        }
    }
}
