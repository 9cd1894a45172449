package peer;

import java.util.TreeMap;
import java.util.TreeSet;

/** An account that messages named. Nothing more is heard of it here. */
final class Account {
    final Journal journal;
    /** Ids of its numbers, by the digits they are displayed with. */
    final TreeMap<String, TreeSet<String>> lines = new TreeMap<>();
    /** Hour in which something of it came last. */
    long hour;
    /** It appears with the record that is folded: not kept. */
    boolean isNew;

    Account(Journal journal) {
        this.journal = journal;
    }

    /** Links a number; true if that was anything new. */
    boolean link(String digits, String phoneNumberId) {
        return lines.computeIfAbsent(digits, none -> new TreeSet<>()).add(phoneNumberId);
    }

    record Codec(State.Mode mode) implements State.Codec<Account> {
        @Override
        public void write(Account account, State.Writer to) {
            account.journal.write(to, mode);
            if (mode.isSame()) {
                to.number(account.hour);
                to.small(account.lines.size());
                for (var line : account.lines.entrySet()) {
                    to.text(line.getKey());
                    to.small(line.getValue().size());
                    line.getValue().forEach(to::text);
                }
            }
        }

        @Override
        public Account read(State.Reader from) {
            Account account = new Account(Journal.read(from, mode));
            if (mode.isSame()) {
                account.hour = from.number();
                for (int lines = from.small(); lines > 0; lines--) {
                    TreeSet<String> ids = new TreeSet<>();
                    account.lines.put(from.text(), ids);
                    for (int left = from.small(); left > 0; left--) {
                        ids.add(from.text());
                    }
                }
            }
            return account;
        }
    }
}
