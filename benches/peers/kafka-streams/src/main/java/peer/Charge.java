package peer;

/** What Meta bills for a message, as its statuses told: a function of what is known of it. */
record Charge(Total.Key total, String model, boolean billable, String country, long time) {
    /** The charge of a message; null as long as no price came with evidence of a delivery. */
    static Charge of(Message message) {
        Pricing pricing = message.pricing;
        if (pricing == null || !pricing.isOfDelivery()) {
            return null;
        }
        long time = State.NO_TIME;
        for (Status status : Status.ALL) {
            long of = message.times[status.ordinal()];
            if (status.isDelivery() && of != State.NO_TIME && (time == State.NO_TIME || of < time)) {
                time = of;
            }
        }
        time = time == State.NO_TIME ? message.journal.created : time;
        String kind = pricing.kind() != null ? pricing.kind() : pricing.model();
        boolean billable = pricing.kind() == null ? Boolean.TRUE.equals(pricing.billable()) : pricing.kind().equals("regular");
        Total.Key total = new Total.Key(message.wabaId, Times.month(time), word(pricing.category()), word(kind));
        return new Charge(total, pricing.model(), billable, country(message.party), time);
    }

    private static String word(String word) {
        return word == null ? "unknown" : Pricing.normal(word);
    }

    /** By calling code. A few stand for the table of all of them. */
    private static String country(String party) {
        if (party == null) {
            return null;
        }
        for (String[] code : COUNTRIES) {
            if (party.startsWith(code[0])) {
                return code[1];
            }
        }
        return null;
    }

    private static final String[][] COUNTRIES = {{"49", "DE"}, {"44", "GB"}, {"55", "BR"}, {"91", "IN"}, {"1", "US"}};
}
