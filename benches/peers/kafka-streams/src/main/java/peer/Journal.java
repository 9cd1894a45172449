package peer;

/** When and where an entity changed. */
final class Journal {
    /** Raw offset of the last record that changed it. */
    long revision;
    long created;
    /** Expiry counts from here. */
    long changed;

    Journal(long created) {
        this.created = created;
    }

    void changed(long offset, long logTime) {
        revision = offset;
        changed = logTime;
    }

    void write(State.Writer to, State.Mode mode) {
        to.number(created);
        if (mode.isSame()) {
            to.number(revision);
            to.number(changed);
        }
    }

    static Journal read(State.Reader from, State.Mode mode) {
        Journal journal = new Journal(from.number());
        if (mode.isSame()) {
            journal.revision = from.number();
            journal.changed = from.number();
        }
        return journal;
    }
}
