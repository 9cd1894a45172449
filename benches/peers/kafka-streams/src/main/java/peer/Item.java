package peer;

import java.util.List;

/** One element of {@code statuses[]}, or what is wrong with it. */
final class Item {
    String wabaId;
    Number metadata;
    String wamid;
    Status status;
    long time = State.NO_TIME;
    String party;
    String callbackData;
    Pricing pricing;
    List<Failure> failures = List.of();
    /** Why it cannot be folded; null if it can. */
    String broken;
    /** Where it stands in the body. */
    String path;

    String phoneNumberId() {
        return metadata == null ? null : metadata.phoneNumberId;
    }
}
