package peer;

/** A business phone number, as {@code metadata} names it. */
final class Number {
    String phoneNumberId;
    String display;
    /** Those of the display: what its account knows it by. */
    String digits;
    String wabaId;
    /** Earliest known time of the display. */
    long since = State.NO_TIME;
    /** Hour in which something of it came last. */
    long hour;
    Journal journal;
    /** Its row is to be written: not kept. */
    boolean told;

    boolean join(Number other, String waba, long time) {
        boolean learned = false;
        if (waba != null && (wabaId == null || waba.compareTo(wabaId) < 0)) {
            wabaId = waba;
            learned = true;
        }
        if (other.display != null && display == null) {
            display = other.display;
            digits = digitsOf(display);
            since = time;
            return true;
        }
        if (other.display != null && time != State.NO_TIME && (since == State.NO_TIME || time < since)) {
            since = time;
            learned = true;
        }
        return learned;
    }

    private static String digitsOf(String display) {
        StringBuilder digits = new StringBuilder(display.length());
        display.chars().filter(letter -> letter >= '0' && letter <= '9').forEach(letter -> digits.append((char) letter));
        return digits.toString();
    }

    record Codec(State.Mode mode) implements State.Codec<Number> {
        @Override
        public void write(Number number, State.Writer to) {
            to.text(number.phoneNumberId);
            to.text(number.display);
            to.text(number.wabaId);
            to.number(number.since);
            number.journal.write(to, mode);
            if (mode.isSame()) {
                to.number(number.hour);
                to.text(number.digits);
            }
        }

        @Override
        public Number read(State.Reader from) {
            Number number = new Number();
            number.phoneNumberId = from.text();
            number.display = from.text();
            number.wabaId = from.text();
            number.since = from.number();
            number.journal = Journal.read(from, mode);
            if (mode.isSame()) {
                number.hour = from.number();
                number.digits = from.text();
            }
            return number;
        }
    }
}
