package peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * Reads the statuses of a webhook in one pass. Members come in any order, may be missing, and are skipped where nobody
 * knows them; a number may stand where text is promised and the reverse. An item that cannot be read is marked, and its
 * siblings go on; a body that is no JSON fails as a whole.
 */
final class Body {
    private static final JsonFactory JSON = new JsonFactory();

    private final JsonParser json;
    private final long appended;
    private final List<Item> items = new ArrayList<>(1);

    private Body(JsonParser json, long appended) {
        this.json = json;
        this.appended = appended;
    }

    static List<Item> items(byte[] body, long appended) throws IOException {
        try (JsonParser json = JSON.createParser(body)) {
            Body read = new Body(json, appended);
            if (json.nextToken() == JsonToken.START_OBJECT) {
                read.envelope();
            } else {
                throw new IOException("not an object");
            }
            return read.items;
        }
    }

    private void envelope() throws IOException {
        String object = null;
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            switch (name) {
                case "object" -> object = text();
                case "entry" -> each(this::entry);
                default -> json.skipChildren();
            }
        }
        if (!"whatsapp_business_account".equals(object)) {
            throw new IOException("not of a business account");
        }
    }

    private void entry(int index) throws IOException {
        int first = items.size();
        String id = null;
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            switch (name) {
                case "id" -> id = text();
                case "changes" -> each(change -> change("$.entry[" + index + "].changes[" + change + "].value"));
                default -> json.skipChildren();
            }
        }
        for (Item item : items.subList(first, items.size())) {
            item.wabaId = item.wabaId == null ? id : item.wabaId;
        }
    }

    private void change(String path) throws IOException {
        int first = items.size();
        String field = null;
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            switch (name) {
                case "field" -> field = text();
                case "value" -> value(path);
                default -> json.skipChildren();
            }
        }
        if (!"messages".equals(field)) {
            items.subList(first, items.size()).clear();
            broken(path, "field_is_not_messages");
        }
    }

    private void value(String path) throws IOException {
        int first = items.size();
        Number metadata = null;
        String waba = null;
        if (json.currentToken() != JsonToken.START_OBJECT) {
            json.skipChildren();
            broken(path, "not_an_object");
            return;
        }
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            switch (name) {
                case "metadata" -> metadata = metadata();
                case "waba_info" -> waba = inner("waba_id");
                case "statuses" -> each(index -> status(path, index));
                default -> json.skipChildren();
            }
        }
        for (Item item : items.subList(first, items.size())) {
            item.metadata = metadata;
            item.wabaId = waba;
        }
    }

    private Number metadata() throws IOException {
        if (json.currentToken() != JsonToken.START_OBJECT) {
            json.skipChildren();
            return null;
        }
        Number number = new Number();
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            switch (name) {
                case "phone_number_id" -> number.phoneNumberId = text();
                case "display_phone_number" -> number.display = text();
                default -> json.skipChildren();
            }
        }
        return number.phoneNumberId == null ? null : number;
    }

    private void status(String path, int index) throws IOException {
        if (json.currentToken() != JsonToken.START_OBJECT) {
            json.skipChildren();
            broken(path + ".statuses[" + index + "]", "not_an_object");
            return;
        }
        Item item = new Item();
        String word = null;
        String time = null;
        Pricing pricing = null;
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            switch (name) {
                case "id" -> item.wamid = text();
                case "status" -> word = text();
                case "timestamp" -> time = text();
                case "recipient_id" -> item.party = text();
                case "biz_opaque_callback_data" -> item.callbackData = text();
                case "pricing" -> pricing = pricing();
                case "errors" -> {
                    item.failures = new ArrayList<>(1);
                    each(at -> failure(item.failures));
                }
                default -> json.skipChildren();
            }
        }
        item.status = word == null ? null : Status.parse(word);
        if (item.wamid == null || item.status == null) {
            broken(path + ".statuses[" + index + "]", item.wamid == null ? "id_missing" : "status_unknown");
            return;
        }
        item.time = Times.ofEvent(time, appended);
        for (Failure failure : item.failures) {
            failure.time = item.time;
        }
        if (pricing != null) {
            int evidence = item.status.isDelivery() ? 2 : 1;
            item.pricing = new Pricing(evidence, pricing.billable(), pricing.model(), pricing.kind(), pricing.category());
        }
        items.add(item);
    }

    private Pricing pricing() throws IOException {
        if (json.currentToken() != JsonToken.START_OBJECT) {
            json.skipChildren();
            return null;
        }
        Boolean billable = null;
        String model = null;
        String kind = null;
        String category = null;
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            switch (name) {
                case "billable" -> {
                    String word = text();
                    billable = "true".equals(word) ? Boolean.TRUE : "false".equals(word) ? Boolean.FALSE : null;
                }
                case "pricing_model" -> model = text();
                case "type" -> kind = text();
                case "category" -> category = text();
                default -> json.skipChildren();
            }
        }
        return new Pricing(1, billable, model, kind, category);
    }

    private void failure(List<Failure> failures) throws IOException {
        if (json.currentToken() != JsonToken.START_OBJECT) {
            json.skipChildren();
            return;
        }
        String code = null;
        Failure read = new Failure(0);
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            switch (name) {
                case "code" -> code = text();
                case "title" -> read.title = text();
                case "message" -> read.message = text();
                case "error_data" -> read.details = inner("details");
                default -> json.skipChildren();
            }
        }
        try {
            Failure failure = new Failure(Long.parseLong(code));
            failure.title = read.title;
            failure.message = read.message;
            failure.details = read.details;
            failures.add(failure);
        } catch (NumberFormatException noCode) {
            // Left to raw.
        }
    }

    /** The text of one member of an object, or of what stands in its place. */
    private String inner(String wanted) throws IOException {
        if (json.currentToken() != JsonToken.START_OBJECT) {
            return text();
        }
        String found = null;
        for (String name; (name = json.nextFieldName()) != null; ) {
            json.nextToken();
            if (name.equals(wanted)) {
                found = text();
            } else {
                json.skipChildren();
            }
        }
        return found;
    }

    /** A scalar as text; null for what counts as missing. */
    private String text() throws IOException {
        JsonToken token = json.currentToken();
        if (!token.isScalarValue() || token == JsonToken.VALUE_NULL) {
            json.skipChildren();
            return null;
        }
        String text = json.getText();
        return text.isEmpty() ? null : text;
    }

    private interface Element {
        void read(int index) throws IOException;
    }

    private void each(Element element) throws IOException {
        if (json.currentToken() != JsonToken.START_ARRAY) {
            json.skipChildren();
            return;
        }
        for (int index = 0; json.nextToken() != JsonToken.END_ARRAY; index++) {
            element.read(index);
        }
    }

    private void broken(String path, String reason) {
        Item item = new Item();
        item.path = path;
        item.broken = reason;
        items.add(item);
    }
}
