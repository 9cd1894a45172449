package peer;

/** What a status said of the price. With evidence of a delivery (2) it is a charge, else (1) a quote. */
record Pricing(int evidence, Boolean billable, String model, String kind, String category) implements Comparable<Pricing> {
    /** By evidence, then by content: of two the greater is kept, in whatever order they come. */
    @Override
    public int compareTo(Pricing other) {
        int order = Integer.compare(evidence, other.evidence);
        order = order != 0 ? order : compare(billable, other.billable);
        order = order != 0 ? order : compare(model, other.model);
        order = order != 0 ? order : compare(kind, other.kind);
        return order != 0 ? order : compare(category, other.category);
    }

    /** What is absent comes first. */
    static <T extends Comparable<T>> int compare(T one, T other) {
        if (one == null || other == null) {
            return Boolean.compare(one != null, other != null);
        }
        return one.compareTo(other);
    }

    boolean isOfDelivery() {
        return evidence >= 2;
    }

    static String normal(String category) {
        return category.toLowerCase().replace('-', '_');
    }

    static void write(Pricing pricing, State.Writer to) {
        if (pricing == null) {
            to.small(0);
            return;
        }
        to.small(pricing.evidence);
        to.small(pricing.billable == null ? -1 : pricing.billable ? 1 : 0);
        to.text(pricing.model);
        to.text(pricing.kind);
        to.text(pricing.category);
    }

    static Pricing read(State.Reader from) {
        int evidence = from.small();
        if (evidence == 0) {
            return null;
        }
        int billable = from.small();
        return new Pricing(evidence, billable < 0 ? null : billable == 1, from.text(), from.text(), from.text());
    }
}
