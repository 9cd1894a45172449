package peer;

/** A number of ours and a party. */
final class Conversation {
    final Journal journal;
    String phoneNumberId;
    String party;
    String wabaId;
    long lastOutbound = State.NO_TIME;
    long outboundCount;
    /** It appears with the record that is folded: not kept. */
    boolean isNew;

    Conversation(Journal journal) {
        this.journal = journal;
    }

    boolean join(String waba, long outbound) {
        boolean learned = false;
        if (waba != null && (wabaId == null || waba.compareTo(wabaId) < 0)) {
            wabaId = waba;
            learned = true;
        }
        if (outbound > lastOutbound) {
            lastOutbound = outbound;
            learned = true;
        }
        return learned;
    }

    record Codec(State.Mode mode) implements State.Codec<Conversation> {
        @Override
        public void write(Conversation conversation, State.Writer to) {
            conversation.journal.write(to, mode);
            to.text(conversation.phoneNumberId);
            to.text(conversation.party);
            to.text(conversation.wabaId);
            to.number(conversation.lastOutbound);
            to.number(conversation.outboundCount);
        }

        @Override
        public Conversation read(State.Reader from) {
            Conversation conversation = new Conversation(Journal.read(from, mode));
            conversation.phoneNumberId = from.text();
            conversation.party = from.text();
            conversation.wabaId = from.text();
            conversation.lastOutbound = from.number();
            conversation.outboundCount = from.number();
            return conversation;
        }
    }
}
