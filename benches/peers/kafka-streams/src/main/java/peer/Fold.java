package peer;

import static peer.Row.name;

import com.fasterxml.jackson.core.io.SerializedString;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.TreeMap;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Folds one raw record: its items of this partition in the order of the body, then the charges that changed, then the
 * table rows that changed, each key once. What is written is what tickfold writes, byte for byte, and so in either mode.
 */
final class Fold implements Processor<byte[], byte[], String, Output> {
    static final String MESSAGES = "messages";
    static final String CONVERSATIONS = "conversations";
    static final String NUMBERS = "numbers";
    static final String TOTALS = "totals";
    static final String ACCOUNTS = "accounts";

    private static final long MINUTE = 60_000;
    private static final long HOUR = 60 * MINUTE;
    private static final long DAY = 24 * HOUR;
    private static final Header VERSION = header("ce_specversion", "1.0");
    private static final Header CONTENT = header("content-type", "application/json");

    private final State.Mode mode;
    private final Ids ids = new Ids();
    /** What is kept beside entities; null if nothing is. */
    private Kept kept;
    private ProcessorContext<String, Output> context;
    private KeyValueStore<String, Message> messages;
    private KeyValueStore<String, Conversation> conversations;
    private KeyValueStore<String, Number> numbers;
    private KeyValueStore<String, Total> totals;
    private KeyValueStore<String, Account> accounts;

    // The record that is folded.
    private int partition;
    private long offset;
    private long logTime;
    private long hour;
    private String received;
    private long receivedTime;
    private int ordinal;
    private Header source;
    private Header time;
    private final TreeMap<String, Touched> touched = new TreeMap<>();
    private final TreeMap<String, Conversation> toldConversations = new TreeMap<>();
    private final TreeMap<String, Number> toldNumbers = new TreeMap<>();
    private final TreeMap<String, Account> metAccounts = new TreeMap<>();

    /** A message within a record. */
    private static final class Touched {
        Message message;
        boolean changed;
        boolean charged;
        Charge before;
    }

    Fold(State.Mode mode) {
        this.mode = mode;
    }

    @Override
    public void init(ProcessorContext<String, Output> context) {
        this.context = context;
        messages = context.getStateStore(MESSAGES);
        conversations = context.getStateStore(CONVERSATIONS);
        numbers = context.getStateStore(NUMBERS);
        totals = context.getStateStore(TOTALS);
        accounts = context.getStateStore(ACCOUNTS);
        partition = context.taskId().partition();
        source = header("ce_source", "tickfold/raw/" + partition);
        if (mode.isSame()) {
            kept = new Kept(context);
            context.schedule(Duration.ofSeconds(1), PunctuationType.STREAM_TIME, this::fire);
        }
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        Headers headers = record.headers();
        String kind = text(headers, "wa-kind");
        if (!"webhook".equals(kind)) {
            // A tick lets log time pass, which here is the time of each record.
            return;
        }
        offset = context.recordMetadata().map(RecordMetadata::offset).orElseThrow();
        logTime = record.timestamp();
        hour = Math.floorDiv(logTime, HOUR);
        received = text(headers, "wa-received-time");
        receivedTime = mode.isSame() ? Times.parse(received) : State.NO_TIME;
        time = header("ce_time", Times.text(logTime));
        ordinal = 0;
        List<Item> items;
        try {
            items = Body.items(record.value(), logTime);
        } catch (IOException broken) {
            deadLetter("$", "not_json", new String(record.value(), StandardCharsets.UTF_8));
            return;
        }
        int partitions = Integer.parseInt(text(headers, "wa-partition-count"));
        for (Item item : items) {
            if (item.wabaId == null || partitionOf(item.wabaId, partitions) != partition) {
                continue;
            }
            if (item.broken != null) {
                deadLetter(item.path, item.broken, new String(record.value(), StandardCharsets.UTF_8));
            } else {
                status(item);
            }
        }
        writeCharges();
        writeRows();
    }

    private static int partitionOf(String waba, int partitions) {
        return Utils.toPositive(Utils.murmur2(waba.getBytes(StandardCharsets.UTF_8))) % partitions;
    }

    // --- facts ------------------------------------------------------------------------------------------------------

    private void status(Item item) {
        number(item);
        Touched touched = touch(item.wamid);
        Message message = touched.message;
        boolean isNew = message == null;
        message = isNew ? new Message(new Journal(logTime)) : message;
        boolean newStatus = !message.has(item.status);
        // A code that another status named first is judged by the failure, as if it had come alone.
        boolean fails = newStatus && item.status == Status.FAILED;
        List<Long> codes = new ArrayList<>(0);
        for (Failure failure : item.failures) {
            if ((fails || !message.hasFailure(failure.code)) && !codes.contains(failure.code)) {
                codes.add(failure.code);
            }
        }
        codes.sort(null);
        Charge before = Charge.of(message);
        Status from = message.shown();
        String place = place(message);
        String number = message.phoneNumberId;
        String party = message.party;
        boolean wasAwaited = message.isAwaited();
        boolean wasReadCode = message.isReadCode();
        boolean wasPriced = message.isPriced();
        if (message.join(item)) {
            touched.message = message;
            touched.changed = true;
            message.journal.changed(offset, logTime);
            if (isNew) {
                message.listTime = item.time == State.NO_TIME ? logTime : item.time;
            }
            int at = 0;
            if (newStatus) {
                Long code = codes.isEmpty() ? null : codes.get(at++);
                transition(item, message, from, true, code);
            }
            for (int next = at; next < codes.size(); next++) {
                transition(item, message, message.shown(), false, codes.get(next));
            }
            if (!touched.charged && Charge.of(message) != null) {
                touched.charged = true;
                touched.before = before;
            }
            follow(item, message, newStatus, codes);
            if (!wasPriced && message.isPriced()) {
                judgeAgain(item, message);
            }
            count(place, place(message), message);
            if (kept != null) {
                if (!wasReadCode && message.isReadCode()) {
                    armOffer(item, message);
                }
                if (!wasAwaited && message.isAwaited()) {
                    armDeadline(item.wamid, message);
                }
                if (isNew) {
                    kept.arm(logTime + Kept.RETENTION, Kept.Timer.EXPIRE_MESSAGE, item.wamid);
                }
                if (!Objects.equals(number, message.phoneNumberId) || !Objects.equals(party, message.party)) {
                    kept.list(false, number, party, message.listTime, item.wamid);
                    kept.list(true, message.phoneNumberId, message.party, message.listTime, item.wamid);
                }
            }
        }
        if (item.status == Status.SENT && item.time != State.NO_TIME && item.metadata != null && item.party != null) {
            String key = item.phoneNumberId() + '/' + item.party;
            Conversation known = conversation(key, item.phoneNumberId(), item.party);
            if (known.join(item.wabaId, item.time)) {
                tell(key, known);
            }
        }
    }

    private Touched touch(String wamid) {
        Touched known = touched.get(wamid);
        if (known == null) {
            known = new Touched();
            known.message = messages.get(wamid);
            touched.put(wamid, known);
        }
        return known;
    }

    private void number(Item item) {
        if (item.metadata == null) {
            return;
        }
        String key = item.phoneNumberId();
        Number known = toldNumbers.get(key);
        known = known == null ? numbers.get(key) : known;
        boolean isNew = known == null;
        if (isNew) {
            known = new Number();
            known.phoneNumberId = key;
            known.journal = new Journal(logTime);
            known.hour = hour;
        }
        String account = known.wabaId;
        boolean learned = known.join(item.metadata, item.wabaId, item.time) | isNew;
        if (!learned && (kept == null || known.hour == hour)) {
            return;
        }
        if (learned) {
            known.journal.changed(offset, logTime);
            known.told = true;
        }
        toldNumbers.put(key, known);
        if (item.wabaId != null) {
            account(item.wabaId, known);
        }
        if (kept == null) {
            return;
        }
        if (isNew) {
            kept.listNumber(key);
        }
        if (isNew || hour - known.hour >= 7 * DAY / HOUR) {
            kept.arm(logTime + DAY, Kept.Timer.SILENCE_DUE, key);
        }
        if (!Objects.equals(account, known.wabaId)) {
            kept.listNumber(false, account, key);
            kept.listNumber(true, known.wabaId, key);
        }
        known.hour = hour;
    }

    private void account(String key, Number number) {
        Account known = metAccounts.get(key);
        known = known == null ? accounts.get(key) : known;
        if (known == null) {
            known = new Account(new Journal(logTime));
            known.journal.changed(offset, logTime);
            known.isNew = true;
            metAccounts.put(key, known);
            if (kept != null) {
                kept.listAccount(key);
                kept.arm(logTime + 7 * DAY, Kept.Timer.ACCOUNT_DUE, key);
                kept.arm(logTime + 30 * DAY, Kept.Timer.ACCOUNT_DUE, key);
            }
        }
        if (kept == null) {
            return;
        }
        if (number.digits != null && !number.digits.isEmpty() && known.link(number.digits, number.phoneNumberId)) {
            known.journal.changed(offset, logTime);
            metAccounts.put(key, known);
        }
        if (known.hour != hour) {
            known.hour = hour;
            metAccounts.put(key, known);
        }
    }

    /** A message counts once in the conversation that its facts show, and moves when they do. */
    private void count(String old, String now, Message message) {
        if (now == null || now.equals(old)) {
            return;
        }
        if (old != null) {
            Conversation left = toldConversations.containsKey(old) ? toldConversations.get(old) : conversations.get(old);
            if (left != null) {
                left.outboundCount--;
                tell(old, left);
            }
        }
        Conversation entered = conversation(now, message.phoneNumberId, message.party);
        entered.join(message.wabaId, State.NO_TIME);
        entered.outboundCount++;
        tell(now, entered);
    }

    /** Its row is to be written. */
    private void tell(String key, Conversation conversation) {
        conversation.journal.changed(offset, logTime);
        if (kept != null && conversation.isNew) {
            kept.arm(logTime + Kept.RETENTION, Kept.Timer.EXPIRE_CONVERSATION, key);
        }
        conversation.isNew = false;
        toldConversations.put(key, conversation);
    }

    private Conversation conversation(String key, String phoneNumberId, String party) {
        Conversation known = toldConversations.get(key);
        known = known == null ? conversations.get(key) : known;
        if (known == null) {
            known = new Conversation(new Journal(logTime));
            known.isNew = true;
            known.phoneNumberId = phoneNumberId;
            known.party = party;
        }
        return known;
    }

    private static String place(Message message) {
        return message.phoneNumberId == null || message.party == null ? null : message.phoneNumberId + '/' + message.party;
    }

    // --- what follows ------------------------------------------------------------------------------------------------

    private void follow(Item item, Message message, boolean newStatus, List<Long> codes) {
        if (item.status == Status.FAILED) {
            for (long code : codes) {
                fail(item.wamid, message, code, item.time);
            }
        } else if (newStatus && item.status.isDelivery()) {
            takeBack(item, message);
        }
    }

    /** The category becomes known: failures of before were judged without it, and it may not have the fallback. */
    private void judgeAgain(Item item, Message message) {
        if (message.times[Status.FAILED.ordinal()] == State.NO_TIME) {
            return;
        }
        for (Told told : message.history) {
            if (told.to() == Status.FAILED && told.errorCode() != null) {
                fail(item.wamid, message, told.errorCode(), told.eventTime());
            }
        }
        if (fallbackValid(message.category()) == 0) {
            takeBack(item, message);
        }
    }

    private void takeBack(Item item, Message message) {
        if ((message.decided & Message.FALLBACK) != 0 && decide(message, Message.SUPERSEDED)) {
            String fallback = ids.of("sms_fallback", item.wamid, "undelivered:" + item.wamid);
            action(item.wamid, message, item.time, "fallback_superseded", "delivered:" + item.wamid, State.NO_TIME,
                    State.NO_TIME, null, fallback, null);
        }
    }

    /** The rules of the codes that this traffic has. */
    private void fail(String wamid, Message message, long code, long time) {
        if (message.isDelivered()) {
            return;
        }
        String category = message.category();
        boolean exempt = message.isLoginCode() || category.equals("utility");
        long at = time == State.NO_TIME ? logTime : time;
        if (code == 131_026 || code == 130_472 || (code == 131_049 && exempt)) {
            long valid = fallbackValid(category);
            if (valid > 0 && decide(message, Message.FALLBACK)) {
                action(wamid, message, time, "sms_fallback", "undelivered:" + wamid, State.NO_TIME, at + valid, null, null, code);
            }
        } else if (code == 131_047) {
            if (decide(message, Message.SEND_TEMPLATE)) {
                action(wamid, message, time, "send_template", "st:" + wamid + ":failed", State.NO_TIME, at + DAY, null, null,
                        code);
            }
        } else if (code == 131_049 && decide(message, Message.BACK_OFF)) {
            action(wamid, message, time, "back_off", "st:" + wamid + ":failed", at + DAY, at + 2 * DAY, "recipient", null,
                    code);
        }
    }

    /** For how long another channel makes sense; 0 if the category may take none. */
    private static long fallbackValid(String category) {
        return category.startsWith("authentication") ? 10 * MINUTE : switch (category) {
            case "utility" -> DAY;
            case "unknown" -> HOUR;
            default -> 0;
        };
    }

    private void armOffer(Item item, Message message) {
        long read = message.times[Status.READ.ordinal()];
        read = read == State.NO_TIME && item.status == Status.READ ? logTime : read;
        long due = read + MINUTE;
        if (read != State.NO_TIME && logTime <= due + 10 * MINUTE) {
            kept.arm(Math.max(due, logTime + 1), Kept.Timer.OFFER_RESEND, item.wamid);
        }
    }

    /** Of login codes a delivery is expected within ten minutes, and one more for the telling. */
    private void armDeadline(String wamid, Message message) {
        if (!message.isLoginCode() || message.isDelivered()) {
            return;
        }
        long pending = message.times[Status.PENDING.ordinal()];
        long sent = message.times[Status.SENT.ordinal()];
        sent = sent == State.NO_TIME || (pending != State.NO_TIME && pending < sent) ? pending : sent;
        sent = sent == State.NO_TIME ? message.journal.created : sent;
        long due = Math.max(sent + 11 * MINUTE, message.journal.created + MINUTE);
        kept.arm(Math.max(due, logTime + 1), Kept.Timer.DELIVERY_DEADLINE, wamid);
    }

    /** What keeps state bounded is done. Whatever else were due would be told, which this traffic has not come to. */
    private void fire(long now) {
        kept.fire(now, (timer, key) -> {
            switch (timer) {
                case EXPIRE_MESSAGE -> {
                    Message message = messages.get(key);
                    if (message == null) {
                        return;
                    }
                    long due = message.journal.changed + Kept.RETENTION;
                    if (due > now) {
                        kept.arm(due, timer, key);
                        return;
                    }
                    messages.delete(key);
                    kept.list(false, message.phoneNumberId, message.party, message.listTime, key);
                    forward("message.state.v1", MESSAGE_STATE, key, null);
                }
                case EXPIRE_CONVERSATION -> {
                    Conversation conversation = conversations.get(key);
                    if (conversation == null) {
                        return;
                    }
                    long due = conversation.journal.changed + Kept.RETENTION;
                    if (due > now) {
                        kept.arm(due, timer, key);
                        return;
                    }
                    conversations.delete(key);
                    forward("conversation.state.v1", CONVERSATION_STATE, key, null);
                }
                case FORGET_DECIDED -> kept.forget(key);
                default -> throw new IllegalStateException(timer + " is due of " + key);
            }
        });
    }

    private static boolean decide(Message message, int what) {
        boolean first = (message.decided & what) == 0;
        message.decided |= what;
        return first;
    }

    // --- outputs ----------------------------------------------------------------------------------------------------

    private void transition(Item item, Message message, Status from, boolean newStatus, Long code) {
        Status state = message.shown();
        boolean raised = from == null || from.ordinal() < state.ordinal();
        Row row = row(item.time)
                .text(ENTITY, "message")
                .text(KEY, item.wamid)
                .text(WABA_ID, message.wabaId)
                .text(PHONE_NUMBER_ID, message.phoneNumberId)
                .text(WAMID, item.wamid)
                .text(FROM, from == null ? null : from.word)
                .text(TO, item.status.word)
                .text(STATE, state.word)
                .truth(LATE, newStatus && !raised);
        if (code != null) {
            row.number(ERROR_CODE, code);
        }
        byte[] value = row.end();
        if (kept != null) {
            message.history.add(new Told(item.status, from, state, newStatus && !raised, item.time, logTime, receivedTime, code,
                    offset, ordinal));
        } else if (item.status == Status.FAILED) {
            message.history.add(Told.failure(item.time, code));
        }
        forward("transition.v1", TRANSITION, item.wamid, value);
    }

    private void action(String wamid, Message message, long time, String kind, String cause, long notBefore, long notAfter,
            String scope, String supersedes, Long code) {
        String id = ids.of(kind, wamid, cause);
        Row row = row(time)
                .text(ACTION_ID, id)
                .text(KIND, kind)
                .text(SUBJECT, wamid)
                .text(CAUSE, cause)
                .time(NOT_BEFORE, notBefore)
                .time(NOT_AFTER, notAfter)
                .text(SCOPE, scope)
                .text(SUPERSEDES, supersedes)
                .text(WABA_ID, message.wabaId)
                .text(PHONE_NUMBER_ID, message.phoneNumberId)
                .text(WAMID, wamid)
                .text(PARTY, message.party);
        if (code != null) {
            row.number(ERROR_CODE, code);
        }
        row.text(CALLBACK_DATA, message.callbackData).number(RULES_VERSION, 1);
        forward("action.v1", ACTION, id, row.end());
        if (kept != null) {
            kept.decide(id, offset, logTime);
        }
    }

    private void writeCharges() {
        TreeMap<Total.Key, long[]> moves = new TreeMap<>();
        for (var entry : touched.entrySet()) {
            Touched told = entry.getValue();
            Charge charge = told.charged ? Charge.of(told.message) : null;
            if (charge == null || charge.equals(told.before)) {
                continue;
            }
            if (told.before != null) {
                move(moves, told.before, -1);
            }
            move(moves, charge, 1);
            charge(entry.getKey(), told.message, charge);
        }
        moves.values().removeIf(move -> move[0] == 0 && move[1] == 0);
        movedTotals = moves;
    }

    private TreeMap<Total.Key, long[]> movedTotals = new TreeMap<>();

    private static void move(TreeMap<Total.Key, long[]> moves, Charge charge, int by) {
        long[] move = moves.computeIfAbsent(charge.total(), key -> new long[2]);
        move[0] += by;
        move[1] += charge.billable() ? by : 0;
    }

    private void charge(String wamid, Message message, Charge charge) {
        Row row = row(charge.time())
                .text(CHARGE_ID, ids.of("charge", wamid, ""))
                .number(SEQUENCE, offset)
                .text(WAMID, wamid)
                .text(WABA_ID, message.wabaId)
                .text(PHONE_NUMBER_ID, message.phoneNumberId)
                .text(PARTY, message.party)
                .text(MONTH, charge.total().month())
                .text(CATEGORY, charge.total().category())
                .text(PRICING_TYPE, charge.total().kind())
                .text(PRICING_MODEL, charge.model())
                .truth(BILLABLE, charge.billable())
                .text(COUNTRY, charge.country())
                .truth(CONFLICTING, false)
                .text(CALLBACK_DATA, message.callbackData);
        message.charged = offset;
        forward("charge.v1", CHARGE, wamid, row.end());
    }

    /** State is put into the stores once per key, when its row is written. */
    private void writeRows() {
        for (var entry : touched.entrySet()) {
            if (entry.getValue().changed) {
                messages.put(entry.getKey(), entry.getValue().message);
                message(entry.getKey(), entry.getValue().message);
            }
        }
        touched.clear();
        for (var entry : toldConversations.entrySet()) {
            Conversation told = entry.getValue();
            conversations.put(entry.getKey(), told);
            Row row = row(told.lastOutbound)
                    .text(PHONE_NUMBER_ID, told.phoneNumberId)
                    .text(PARTY, told.party)
                    .text(WABA_ID, told.wabaId)
                    .time(LAST_OUTBOUND_TIME, told.lastOutbound)
                    .number(INBOUND_COUNT, 0)
                    .number(OUTBOUND_COUNT, told.outboundCount);
            forward("conversation.state.v1", CONVERSATION_STATE, entry.getKey(), row.end());
        }
        toldConversations.clear();
        for (var entry : toldNumbers.entrySet()) {
            Number told = entry.getValue();
            numbers.put(entry.getKey(), told);
            if (!told.told) {
                continue;
            }
            Row row = row(told.since)
                    .text(PHONE_NUMBER_ID, told.phoneNumberId)
                    .text(WABA_ID, told.wabaId)
                    .text(DISPLAY_PHONE_NUMBER, told.display)
                    .text(STATE, "active");
            forward("number.state.v1", NUMBER_STATE, entry.getKey(), row.end());
        }
        toldNumbers.clear();
        for (var entry : movedTotals.entrySet()) {
            Total.Key key = entry.getKey();
            String text = key.text();
            Total total = totals.get(text);
            total = total == null ? new Total() : total;
            total.charges += entry.getValue()[0];
            total.billable += entry.getValue()[1];
            totals.put(text, total);
            Row row = row(State.NO_TIME)
                    .text(WABA_ID, key.wabaId())
                    .text(MONTH, key.month())
                    .text(PRICING_CATEGORY, key.category())
                    .text(PRICING_TYPE, key.kind())
                    .number(CHARGE_COUNT, total.charges)
                    .number(BILLABLE_COUNT, total.billable);
            forward("account.state.v1", ACCOUNT_STATE, text, row.end());
        }
        movedTotals.clear();
        for (var entry : metAccounts.entrySet()) {
            Account met = entry.getValue();
            accounts.put(entry.getKey(), met);
            if (met.isNew) {
                Row row = row(State.NO_TIME).text(WABA_ID, entry.getKey()).text(STATE, "active");
                forward("account.state.v1", ACCOUNT_STATE, entry.getKey(), row.end());
            }
        }
        metAccounts.clear();
    }

    private void message(String wamid, Message message) {
        Failure failure = message.firstFailure();
        Row row = row(message.latestTime())
                .text(WAMID, wamid)
                .text(WABA_ID, message.wabaId)
                .text(PHONE_NUMBER_ID, message.phoneNumberId)
                .text(PARTY, message.party)
                .text(DIRECTION, "outbound")
                .text(STATE, message.shown().word)
                .time(PENDING_TIME, message.times[Status.PENDING.ordinal()])
                .time(SENT_TIME, message.times[Status.SENT.ordinal()])
                .time(DELIVERED_TIME, message.times[Status.DELIVERED.ordinal()])
                .time(READ_TIME, message.times[Status.READ.ordinal()])
                .time(PLAYED_TIME, message.times[Status.PLAYED.ordinal()])
                .time(FAILED_TIME, message.times[Status.FAILED.ordinal()]);
        if (failure != null) {
            row.number(ERROR_CODE, failure.code).text(ERROR_DETAILS, failure.details != null ? failure.details : failure.title);
        }
        Pricing pricing = message.pricing;
        if (pricing != null) {
            row.text(PRICING_MODEL, pricing.model()).text(PRICING_TYPE, pricing.kind()).text(PRICING_CATEGORY, pricing.category());
            if (pricing.billable() != null) {
                row.truth(BILLABLE, pricing.billable());
            }
        }
        forward("message.state.v1", MESSAGE_STATE, wamid, row.text(CALLBACK_DATA, message.callbackData).end());
    }

    private void deadLetter(String path, String reason, String raw) {
        String position = partition + "-" + offset;
        Row row = row(State.NO_TIME)
                .text(POSITION, position)
                .text(PATH, path)
                .text(REASON, reason)
                .text(RAW, raw);
        forward("dead-letter.v1", DEAD_LETTER, position, row.end());
    }

    /** The members that every record has. */
    private Row row(long eventTime) {
        Row row = new Row()
                .text(EVENT_ID, eventId())
                .number(REVISION, offset)
                .time(EVENT_TIME, eventTime == State.NO_TIME ? logTime : eventTime);
        if (eventTime == State.NO_TIME) {
            row.truth(EVENT_TIME_ESTIMATED, true);
        }
        return row.text(RECEIVED_TIME, received)
                .number(SOURCE_PARTITION, partition)
                .number(SOURCE_OFFSET, offset)
                .number(SCHEMA_VERSION, 1);
    }

    private String eventId() {
        return partition + "-" + offset + "-" + ordinal;
    }

    /** Null is a tombstone. */
    private void forward(String topic, Header type, String key, byte[] value) {
        Header[] all = {header("ce_id", eventId()), source, VERSION, time, type, CONTENT};
        RecordHeaders headers = new RecordHeaders(value == null ? Arrays.copyOf(all, all.length - 1) : all);
        ordinal++;
        context.forward(new Record<>(key, new Output(topic, partition, value), logTime, headers));
    }

    private static Header header(String name, String value) {
        return new RecordHeader(name, value.getBytes(StandardCharsets.UTF_8));
    }

    private static String text(Headers headers, String name) {
        Header header = headers.lastHeader(name);
        return header == null ? null : new String(header.value(), StandardCharsets.UTF_8);
    }

    private static final Header MESSAGE_STATE = header("ce_type", "tickfold.message.state");
    private static final Header CONVERSATION_STATE = header("ce_type", "tickfold.conversation.state");
    private static final Header NUMBER_STATE = header("ce_type", "tickfold.number.state");
    private static final Header ACCOUNT_STATE = header("ce_type", "tickfold.account.state");
    private static final Header TRANSITION = header("ce_type", "tickfold.transition");
    private static final Header CHARGE = header("ce_type", "tickfold.charge");
    private static final Header ACTION = header("ce_type", "tickfold.action");
    private static final Header DEAD_LETTER = header("ce_type", "tickfold.dead-letter");

    private static final SerializedString ACTION_ID = name("action_id");
    private static final SerializedString BILLABLE = name("billable");
    private static final SerializedString BILLABLE_COUNT = name("billable_count");
    private static final SerializedString CALLBACK_DATA = name("callback_data");
    private static final SerializedString CATEGORY = name("category");
    private static final SerializedString CAUSE = name("cause");
    private static final SerializedString CHARGE_COUNT = name("charge_count");
    private static final SerializedString CHARGE_ID = name("charge_id");
    private static final SerializedString CONFLICTING = name("conflicting");
    private static final SerializedString COUNTRY = name("country");
    private static final SerializedString DELIVERED_TIME = name("delivered_time");
    private static final SerializedString DIRECTION = name("direction");
    private static final SerializedString DISPLAY_PHONE_NUMBER = name("display_phone_number");
    private static final SerializedString ENTITY = name("entity");
    private static final SerializedString ERROR_CODE = name("error_code");
    private static final SerializedString ERROR_DETAILS = name("error_details");
    private static final SerializedString EVENT_ID = name("event_id");
    private static final SerializedString EVENT_TIME = name("event_time");
    private static final SerializedString EVENT_TIME_ESTIMATED = name("event_time_estimated");
    private static final SerializedString FAILED_TIME = name("failed_time");
    private static final SerializedString FROM = name("from");
    private static final SerializedString INBOUND_COUNT = name("inbound_count");
    private static final SerializedString KEY = name("key");
    private static final SerializedString KIND = name("kind");
    private static final SerializedString LAST_OUTBOUND_TIME = name("last_outbound_time");
    private static final SerializedString LATE = name("late");
    private static final SerializedString MONTH = name("month");
    private static final SerializedString NOT_AFTER = name("not_after");
    private static final SerializedString NOT_BEFORE = name("not_before");
    private static final SerializedString OUTBOUND_COUNT = name("outbound_count");
    private static final SerializedString PARTY = name("party");
    private static final SerializedString PATH = name("path");
    private static final SerializedString PENDING_TIME = name("pending_time");
    private static final SerializedString PHONE_NUMBER_ID = name("phone_number_id");
    private static final SerializedString PLAYED_TIME = name("played_time");
    private static final SerializedString POSITION = name("position");
    private static final SerializedString PRICING_CATEGORY = name("pricing_category");
    private static final SerializedString PRICING_MODEL = name("pricing_model");
    private static final SerializedString PRICING_TYPE = name("pricing_type");
    private static final SerializedString RAW = name("raw");
    private static final SerializedString READ_TIME = name("read_time");
    private static final SerializedString REASON = name("reason");
    private static final SerializedString RECEIVED_TIME = name("received_time");
    private static final SerializedString REVISION = name("revision");
    private static final SerializedString RULES_VERSION = name("rules_version");
    private static final SerializedString SCHEMA_VERSION = name("schema_version");
    private static final SerializedString SCOPE = name("scope");
    private static final SerializedString SENT_TIME = name("sent_time");
    private static final SerializedString SEQUENCE = name("sequence");
    private static final SerializedString SOURCE_OFFSET = name("source_offset");
    private static final SerializedString SOURCE_PARTITION = name("source_partition");
    private static final SerializedString STATE = name("state");
    private static final SerializedString SUBJECT = name("subject");
    private static final SerializedString SUPERSEDES = name("supersedes");
    private static final SerializedString TO = name("to");
    private static final SerializedString WABA_ID = name("waba_id");
    private static final SerializedString WAMID = name("wamid");
}
