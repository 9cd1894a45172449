package peer;

/** One line of a message's history: a new fact, where it came from and what it did. */
record Told(Status to, Status from, Status state, boolean late, long eventTime, long logTime, long receivedTime,
        Long errorCode, long offset, int ordinal) {
    void write(State.Writer writer, State.Mode mode) {
        writer.number(eventTime);
        writer.truth(errorCode != null);
        if (errorCode != null) {
            writer.number(errorCode);
        }
        if (!mode.isSame()) {
            return;
        }
        writer.small(to.ordinal());
        writer.small(from == null ? -1 : from.ordinal());
        writer.small(state.ordinal());
        writer.truth(late);
        writer.number(logTime);
        writer.number(receivedTime);
        writer.number(offset);
        writer.small(ordinal);
    }

    static Told read(State.Reader reader, State.Mode mode) {
        long eventTime = reader.number();
        Long errorCode = reader.truth() ? (Long) reader.number() : null;
        if (!mode.isSame()) {
            return failure(eventTime, errorCode);
        }
        Status to = Status.ALL[reader.small()];
        int from = reader.small();
        return new Told(to, from < 0 ? null : Status.ALL[from], Status.ALL[reader.small()], reader.truth(), eventTime,
                reader.number(), reader.number(), errorCode, reader.number(), reader.small());
    }

    /** A failure, as far as it is judged by. */
    static Told failure(long eventTime, Long errorCode) {
        return new Told(Status.FAILED, null, null, false, eventTime, State.NO_TIME, State.NO_TIME, errorCode, 0, 0);
    }
}
