package peer;

/** One error code of a failed message. */
final class Failure {
    final long code;
    long time = State.NO_TIME;
    String title;
    String message;
    String details;

    Failure(long code) {
        this.code = code;
    }

    /** Learns everything the other knows; true if that was anything new. */
    boolean join(Failure other) {
        boolean learned = false;
        if (other.time != State.NO_TIME && (time == State.NO_TIME || other.time < time)) {
            time = other.time;
            learned = true;
        }
        if (Pricing.compare(title, other.title) < 0) {
            title = other.title;
            learned = true;
        }
        if (Pricing.compare(message, other.message) < 0) {
            message = other.message;
            learned = true;
        }
        if (Pricing.compare(details, other.details) < 0) {
            details = other.details;
            learned = true;
        }
        return learned;
    }
}
