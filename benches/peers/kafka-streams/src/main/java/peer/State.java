package peer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** How state is kept: fields one after the other, texts with their length, absent ones as -1. */
final class State {
    /** No time is known. */
    static final long NO_TIME = Long.MIN_VALUE;

    private State() {}

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

        void number(long number) {
            room(8);
            for (int shift = 56; shift >= 0; shift -= 8) {
                buffer[length++] = (byte) (number >>> shift);
            }
        }

        void small(int number) {
            room(4);
            for (int shift = 24; shift >= 0; shift -= 8) {
                buffer[length++] = (byte) (number >>> shift);
            }
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
            return ((long) small() << 32) | (small() & 0xffff_ffffL);
        }

        int small() {
            int number = (buffer[at] & 0xff) << 24 | (buffer[at + 1] & 0xff) << 16 | (buffer[at + 2] & 0xff) << 8
                    | (buffer[at + 3] & 0xff);
            at += 4;
            return number;
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
    }
}
