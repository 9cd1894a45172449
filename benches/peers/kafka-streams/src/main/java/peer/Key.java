package peer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Keys of several parts, whose order in bytes is the order of the parts. No id of this traffic has a zero byte. */
final class Key {
    private byte[] buffer = new byte[128];
    private int length;

    Key kind(int kind) {
        room(1);
        buffer[length++] = (byte) kind;
        return this;
    }

    /** A part that others follow. */
    Key part(String part) {
        return last(part).kind(0);
    }

    Key last(String part) {
        byte[] bytes = part.getBytes(StandardCharsets.UTF_8);
        room(bytes.length);
        System.arraycopy(bytes, 0, buffer, length, bytes.length);
        length += bytes.length;
        return this;
    }

    Key rising(long number) {
        long bits = number ^ Long.MIN_VALUE;
        room(8);
        for (int shift = 56; shift >= 0; shift -= 8) {
            buffer[length++] = (byte) (bits >>> shift);
        }
        return this;
    }

    /** The newest first, then the greatest wamid. */
    Key falling(long time, String wamid) {
        int begin = length;
        rising(time).part(wamid);
        for (int at = begin; at < length; at++) {
            buffer[at] = (byte) ~buffer[at];
        }
        return this;
    }

    byte[] bytes() {
        return Arrays.copyOf(buffer, length);
    }

    private void room(int more) {
        if (length + more > buffer.length) {
            buffer = Arrays.copyOf(buffer, Math.max(buffer.length * 2, length + more));
        }
    }
}
