package peer;

/** Charges of an account, month, category and type. */
final class Total {
    long charges;
    long billable;

    /** What is summed by, in the order in which rows are written. */
    record Key(String wabaId, String month, String category, String kind) implements Comparable<Key> {
        String text() {
            return wabaId + "/charges/" + month + '/' + category + '/' + kind;
        }

        @Override
        public int compareTo(Key other) {
            int order = wabaId.compareTo(other.wabaId);
            order = order != 0 ? order : month.compareTo(other.month);
            order = order != 0 ? order : category.compareTo(other.category);
            return order != 0 ? order : kind.compareTo(other.kind);
        }
    }

    static final class Codec implements State.Codec<Total> {
        @Override
        public void write(Total total, State.Writer to) {
            to.number(total.charges);
            to.number(total.billable);
        }

        @Override
        public Total read(State.Reader from) {
            Total total = new Total();
            total.charges = from.number();
            total.billable = from.number();
            return total;
        }
    }
}
