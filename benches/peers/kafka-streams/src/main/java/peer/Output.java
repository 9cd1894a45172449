package peer;

/** A record of a derived topic, whose partition is that of the raw record. */
record Output(String topic, int partition, byte[] value) {}
