package peer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** How state is kept: fields one after the other, numbers in as few bytes as they need, texts with their length. */
final class State {
    /** No time is known. */
    static final long NO_TIME = Long.MIN_VALUE;

    private State() {}

    /** How much is kept. */
    enum Mode {
        /** What the outputs follow from, and nothing else. */
        LEAN,
        /** Everything that tickfold keeps of this traffic. */
        SAME;

        boolean isSame() {
            return this == SAME;
        }
    }

    interface Codec<V> {
        void write(V value, Writer writer);

        V read(Reader reader);

        default Serde<V> serde() {
            return Serdes.serdeFrom(
                    (topic, value) -> {
                        if (value == null) {
                            return null;
                        }
                        Writer writer = new Writer();
                        write(value, writer);
                        return writer.bytes();
                    },
                    (topic, bytes) -> bytes == null ? null : read(new Reader(bytes)));
        }
    }

    static final class Writer {
        private byte[] buffer = new byte[384];
        private int length;

        /** Any number; small ones of either sign are short. */
        void number(long number) {
            varint(number << 1 ^ number >> 63);
        }

        /** A number from -1 on. */
        void small(int number) {
            varint(number + 1L);
        }

        void truth(boolean truth) {
            small(truth ? 1 : 0);
        }

        void text(String text) {
            if (text == null) {
                small(-1);
                return;
            }
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            small(bytes.length);
            room(bytes.length);
            System.arraycopy(bytes, 0, buffer, length, bytes.length);
            length += bytes.length;
        }

        byte[] bytes() {
            return Arrays.copyOf(buffer, length);
        }

        private void varint(long bits) {
            room(10);
            while ((bits & ~0x7fL) != 0) {
                buffer[length++] = (byte) (bits | 0x80);
                bits >>>= 7;
            }
            buffer[length++] = (byte) bits;
        }

        private void room(int more) {
            if (length + more > buffer.length) {
                buffer = Arrays.copyOf(buffer, Math.max(buffer.length * 2, length + more));
            }
        }
    }

    static final class Reader {
        private final byte[] buffer;
        private int at;

        Reader(byte[] buffer) {
            this.buffer = buffer;
        }

        long number() {
            long bits = varint();
            return bits >>> 1 ^ -(bits & 1);
        }

        int small() {
            return (int) varint() - 1;
        }

        boolean truth() {
            return small() == 1;
        }

        String text() {
            int size = small();
            if (size < 0) {
                return null;
            }
            String text = new String(buffer, at, size, StandardCharsets.UTF_8);
            at += size;
            return text;
        }

        private long varint() {
            long bits = 0;
            for (int shift = 0; ; shift += 7) {
                byte next = buffer[at++];
                bits |= (next & 0x7fL) << shift;
                if (next >= 0) {
                    return bits;
                }
            }
        }
    }
}
