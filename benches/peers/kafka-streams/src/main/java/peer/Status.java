package peer;

/** What Meta reports of a message, in the order in which one stands above another. */
enum Status {
    PENDING,
    SENT,
    FAILED,
    DELIVERED,
    READ,
    PLAYED;

    static final Status[] ALL = values();

    final String word = name().toLowerCase();

    /** Meta's word in any case; null for one that is not known. */
    static Status parse(String word) {
        for (Status status : ALL) {
            if (status.word.equalsIgnoreCase(word)) {
                return status;
            }
        }
        boolean pending = word.equalsIgnoreCase("accepted") || word.equalsIgnoreCase("held_for_quality_assessment")
                || word.equalsIgnoreCase("paused");
        return pending ? PENDING : null;
    }

    /** Evidence that it reached the customer. */
    boolean isDelivery() {
        return ordinal() >= DELIVERED.ordinal();
    }
}
