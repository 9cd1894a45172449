package peer;

/** One line of a message's history: a new fact, where it came from and what it did. */
record Told(Status to, Status from, Status state, boolean late, long eventTime, long logTime, long receivedTime,
        Long errorCode, long offset, int ordinal) {
    void write(State.Writer writer) {
        writer.small(to.ordinal());
        writer.small(from == null ? -1 : from.ordinal());
        writer.small(state.ordinal());
        writer.truth(late);
        writer.number(eventTime);
        writer.number(logTime);
        writer.number(receivedTime);
        writer.truth(errorCode != null);
        if (errorCode != null) {
            writer.number(errorCode);
        }
        writer.number(offset);
        writer.small(ordinal);
    }

    static Told read(State.Reader reader) {
        Status to = Status.ALL[reader.small()];
        int from = reader.small();
        return new Told(to, from < 0 ? null : Status.ALL[from], Status.ALL[reader.small()], reader.truth(), reader.number(),
                reader.number(), reader.number(), reader.truth() ? (Long) reader.number() : null, reader.number(),
                reader.small());
    }
}
