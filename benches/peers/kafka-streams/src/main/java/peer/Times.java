package peer;

import java.nio.charset.StandardCharsets;
import java.time.LocalDate;

/** Times as Meta sends them and as the topics have them: RFC 3339 in UTC with milliseconds. */
final class Times {
    private static final long DAY = 86_400_000;
    private static final long EARLIEST = 1_230_768_000_000L;

    /** The day formatted last: most times are of one. Each thread formats for itself. */
    private static final class Day {
        long day = Long.MIN_VALUE;
        String text;
        byte[] bytes;
    }

    private static final ThreadLocal<Day> LAST = ThreadLocal.withInitial(Day::new);

    private Times() {}

    static String text(long ms) {
        byte[] text = new byte[24];
        long rest = Math.floorMod(ms, DAY);
        System.arraycopy(day(Math.floorDiv(ms, DAY)).bytes, 0, text, 0, 10);
        text[10] = 'T';
        digits(text, 11, rest / 3_600_000, 2);
        text[13] = ':';
        digits(text, 14, rest / 60_000 % 60, 2);
        text[16] = ':';
        digits(text, 17, rest / 1_000 % 60, 2);
        text[19] = '.';
        digits(text, 20, rest % 1_000, 3);
        text[23] = 'Z';
        return new String(text, StandardCharsets.ISO_8859_1);
    }

    /** Of such a text; no time if it is another. */
    static long parse(String text) {
        try {
            Day last = LAST.get();
            if (last.text == null || !text.startsWith(last.text)) {
                last = day(LocalDate.parse(text.substring(0, 10)).toEpochDay());
            }
            long hours = Integer.parseInt(text, 11, 13, 10);
            long minutes = Integer.parseInt(text, 14, 16, 10);
            long seconds = Integer.parseInt(text, 17, 19, 10);
            return last.day * DAY + ((hours * 60 + minutes) * 60 + seconds) * 1_000 + Integer.parseInt(text, 20, 23, 10);
        } catch (RuntimeException another) {
            return State.NO_TIME;
        }
    }

    static String month(long ms) {
        return day(Math.floorDiv(ms, DAY)).text.substring(0, 7);
    }

    /** Seconds or milliseconds; what cannot be is no time, judged against the append of the record. */
    static long ofEvent(String text, long appended) {
        if (text == null) {
            return State.NO_TIME;
        }
        try {
            long number = Long.parseLong(text.trim());
            long ms = number >= 1_000_000_000_000L ? number : Math.multiplyExact(number, 1_000L);
            return ms >= EARLIEST && ms <= appended + DAY ? ms : State.NO_TIME;
        } catch (NumberFormatException | ArithmeticException absurd) {
            return State.NO_TIME;
        }
    }

    private static Day day(long day) {
        Day last = LAST.get();
        if (last.day != day) {
            last.text = LocalDate.ofEpochDay(day).toString();
            last.bytes = last.text.getBytes(StandardCharsets.ISO_8859_1);
            last.day = day;
        }
        return last;
    }

    private static void digits(byte[] text, int at, long number, int digits) {
        for (int left = digits - 1; left >= 0; left--) {
            text[at + left] = (byte) ('0' + number % 10);
            number /= 10;
        }
    }
}
