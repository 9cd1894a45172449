package peer;

/** An account that a message named. Nothing more is heard of it here. */
record Account(long since) {
    static final class Codec implements State.Codec<Account> {
        @Override
        public void write(Account account, State.Writer to) {
            to.number(account.since);
        }

        @Override
        public Account read(State.Reader from) {
            return new Account(from.number());
        }
    }
}
