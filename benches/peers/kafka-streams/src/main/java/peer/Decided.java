package peer;

/** What is remembered of an action that was decided, so that it is decided once. */
record Decided(long offset, long decided, boolean expired) {
    static final class Codec implements State.Codec<Decided> {
        @Override
        public void write(Decided decided, State.Writer to) {
            to.number(decided.offset);
            to.number(decided.decided);
            to.truth(decided.expired);
        }

        @Override
        public Decided read(State.Reader from) {
            return new Decided(from.number(), from.number(), from.truth());
        }
    }
}
