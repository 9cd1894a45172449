package peer;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** Ids that name several parts together: the first half of a SHA-256 over each part with its length. */
final class Ids {
    private final MessageDigest digest;

    Ids() {
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException never) {
            throw new IllegalStateException(never);
        }
    }

    String of(String... parts) {
        StringBuilder text = new StringBuilder(160);
        for (String part : parts) {
            int bytes = part.getBytes(StandardCharsets.UTF_8).length;
            text.append(bytes).append(':').append(part).append(';');
        }
        byte[] hash = digest.digest(text.toString().getBytes(StandardCharsets.UTF_8));
        return HexFormat.of().formatHex(hash, 0, 16);
    }
}
