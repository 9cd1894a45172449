package peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.io.SerializedString;
import com.fasterxml.jackson.core.util.ByteArrayBuilder;
import java.io.IOException;
import java.io.UncheckedIOException;

/** One derived record in the making: members in order, absent ones left out. */
final class Row {
    private static final JsonFactory JSON = new JsonFactory();

    private final ByteArrayBuilder bytes = new ByteArrayBuilder(JSON._getBufferRecycler(), 1_024);
    private final JsonGenerator json;

    Row() {
        try {
            json = JSON.createGenerator(bytes);
            json.writeStartObject();
        } catch (IOException never) {
            throw new UncheckedIOException(never);
        }
    }

    /** The name of a member, encoded once. */
    static SerializedString name(String name) {
        return new SerializedString(name);
    }

    Row text(SerializedString name, String value) {
        if (value != null) {
            try {
                json.writeFieldName(name);
                json.writeString(value);
            } catch (IOException never) {
                throw new UncheckedIOException(never);
            }
        }
        return this;
    }

    Row time(SerializedString name, long ms) {
        return ms == State.NO_TIME ? this : text(name, Times.text(ms));
    }

    Row number(SerializedString name, long value) {
        try {
            json.writeFieldName(name);
            json.writeNumber(value);
        } catch (IOException never) {
            throw new UncheckedIOException(never);
        }
        return this;
    }

    Row truth(SerializedString name, boolean value) {
        try {
            json.writeFieldName(name);
            json.writeBoolean(value);
        } catch (IOException never) {
            throw new UncheckedIOException(never);
        }
        return this;
    }

    byte[] end() {
        try {
            json.writeEndObject();
            json.close();
        } catch (IOException never) {
            throw new UncheckedIOException(never);
        }
        byte[] value = bytes.toByteArray();
        bytes.release();
        return value;
    }
}
