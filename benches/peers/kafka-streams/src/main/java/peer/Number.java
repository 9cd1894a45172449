package peer;

/** A business phone number, as {@code metadata} names it. */
final class Number {
    String phoneNumberId;
    String display;
    String wabaId;
    /** Earliest known time of the display. */
    long since = State.NO_TIME;

    boolean join(Number told, String waba, long time) {
        boolean learned = false;
        if (waba != null && (wabaId == null || waba.compareTo(wabaId) < 0)) {
            wabaId = waba;
            learned = true;
        }
        if (told.display != null && display == null) {
            display = told.display;
            since = time;
            return true;
        }
        if (told.display != null && time != State.NO_TIME && (since == State.NO_TIME || time < since)) {
            since = time;
            learned = true;
        }
        return learned;
    }

    static final class Codec implements State.Codec<Number> {
        @Override
        public void write(Number number, State.Writer to) {
            to.text(number.phoneNumberId);
            to.text(number.display);
            to.text(number.wabaId);
            to.number(number.since);
        }

        @Override
        public Number read(State.Reader from) {
            Number number = new Number();
            number.phoneNumberId = from.text();
            number.display = from.text();
            number.wabaId = from.text();
            number.since = from.number();
            return number;
        }
    }
}
