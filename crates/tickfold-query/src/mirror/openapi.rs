//! The mirror as an OpenAPI 3.1 document, made of the table of routes and of the descriptors with their
//! comments. `docs/openapi.json` is what comes of it, and a test keeps it so.

use std::collections::BTreeMap;

use prost_reflect::{
    EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};
use serde_json::{Map, Value, json};

use super::json::{self, Written, held, written};
use super::routes::{ROUTES, Route};
use crate::Error;
use crate::access::{Need, need};

const STATUS: &str = "google.rpc.Status";

const ABOUT: &str = "The reads of tickfold's gRPC services as JSON over HTTP, and its watches as server-sent events, on the admin \
listener. Replies are the messages of the gRPC API in protobuf's JSON mapping: 64-bit numbers are strings, times RFC 3339, enums \
their names, and what is unknown or empty is left out. Whoever may ask what over gRPC may ask it here, with the same token. Address \
and headers of a request have at most 64 KiB together; a longer head is answered with 414 or 431 and no body.";

/// The document.
///
/// # Errors
/// If the descriptors of the build are broken.
pub fn document() -> Result<Value, Error> {
    let (mut paths, mut schemas) = (Map::new(), Schemas::default());
    for route in ROUTES {
        let broken = || Error::Reflection(format!("{} is not described", route.rpc()).into());
        let method = json::method(route).ok_or_else(broken)?;
        paths.insert(
            route.path.to_owned(),
            json!({ "get": operation(route, &method, &mut schemas) }),
        );
    }
    let status = json::message(STATUS);
    schemas
        .all(status.ok_or_else(|| Error::Reflection(format!("{STATUS} is not described").into()))?);
    Ok(json!({
        "openapi": "3.1.1",
        "info": {
            "title": "tickfold",
            "summary": "The state of WhatsApp messages, conversations, templates, numbers and accounts.",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:9464", "description": "the admin listener of a node, as it is by default" }],
        // Without tokens only loopback is answered, and everybody there.
        "security": [{ "token": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas.made,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "A token of `auth.tokens_file`." } },
        },
    }))
}

fn operation(route: &Route, method: &MethodDescriptor, schemas: &mut Schemas) -> Value {
    let told = comment(&method.parent_file(), method.path());
    let (summary, _) = told.split_once(". ").unwrap_or((&told, ""));
    let bound: BTreeMap<_, _> = route.bound().map(|(name, field)| (field, name)).collect();
    let mut parameters = Vec::new();
    flattened(&method.input(), "", &bound, schemas, &mut parameters);
    let reply = schemas.reference(&method.output());
    let content = match method.is_server_streaming() {
        false => json!({ "application/json": { "schema": reply } }),
        true => json!({ "text/event-stream": { "schema": {
            "type": "string",
            "description": "Events. The data of each is a reply, its id the resume token, if it has one. A stream that fails \
                            ends with an event `status`, whose data is a google.rpc.Status.",
            "contentMediaType": "application/json",
            "contentSchema": reply,
        } } }),
    };
    let scopes = match need(&route.rpc()) {
        Need::Scopes(scopes) => scopes.iter().map(|scope| format!("`{}`", scope.word())).collect(),
        Need::Nothing | Need::Name => Vec::new(),
    };
    json!({
        "operationId": route.operation,
        "summary": summary.trim_end_matches('.'),
        "description": format!("{told}\n\nScope: {}; what names persons needs `pii.read` too. gRPC: `{}`.", scopes.join(" and "), route.rpc()),
        "tags": [route.service.rsplit('.').next()],
        "parameters": parameters,
        "responses": {
            "200": { "description": if method.is_server_streaming() { "A stream." } else { "The reply." }, "content": content },
            "default": {
                "description": "The call failed. The code is that of google.rpc.Code in HTTP; `Retry-After` says when another try is worth it.",
                "content": { "application/json": { "schema": { "$ref": place(STATUS) } } },
            },
        },
    })
}

/// Parameters for all fields of a message, those of messages inside it with a dot.
fn flattened(
    message: &MessageDescriptor,
    prefix: &str,
    bound: &BTreeMap<&str, &str>,
    schemas: &mut Schemas,
    parameters: &mut Vec<Value>,
) {
    for field in message.fields() {
        let name = format!("{prefix}{}", field.json_name());
        let inside = format!("{name}.");
        // A place is one parameter, unless the path has its two fields.
        let is_apart = |message: &MessageDescriptor| {
            written(message) == Written::ByField
                || bound.keys().any(|field| field.starts_with(&inside))
        };
        if let Some(inner) = held(&field).filter(is_apart) {
            flattened(&inner, &inside, bound, schemas, parameters);
            continue;
        }
        let in_path = bound.get(name.as_str());
        let mut schema = parameter(&field, schemas);
        if field.is_list() {
            schema = json!({ "type": "array", "items": schema });
        }
        parameters.push(json!({
            "name": in_path.unwrap_or(&name.as_str()),
            "in": if in_path.is_some() { "path" } else { "query" },
            "required": in_path.is_some(),
            "description": comment(&field.parent_message().parent_file(), field.path()),
            "schema": schema,
        }));
    }
}

/// A value as it is written in a parameter.
fn parameter(field: &FieldDescriptor, schemas: &mut Schemas) -> Value {
    match field.kind() {
        Kind::Message(message) => match written(&message) {
            Written::Place => {
                json!({ "type": "string", "pattern": "^[0-9]+:[0-9]+$", "examples": ["3:1042"] })
            }
            Written::Flag => json!({ "type": "boolean", "const": true }),
            Written::Text | Written::ByField => schemas.value(field),
        },
        _ => schemas.value(field),
    }
}

/// Schemas of messages and enums, as they are reached.
#[derive(Debug, Default)]
struct Schemas {
    made: BTreeMap<String, Value>,
}

impl Schemas {
    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        self.all(message.clone());
        json!({ "$ref": place(message.full_name()) })
    }

    /// A message and what it holds.
    fn all(&mut self, message: MessageDescriptor) {
        let name = message.full_name().to_owned();
        if self.made.contains_key(&name) {
            return;
        }
        // Holds the place, so that a message inside itself ends here.
        self.made.insert(name.clone(), Value::Null);
        let mut properties = Map::new();
        for field in message.fields() {
            let mut schema = match field.kind() {
                Kind::Message(entry) if field.is_map() => {
                    let held = entry.map_entry_value_field();
                    json!({ "type": "object", "additionalProperties": self.value(&held) })
                }
                _ => self.value(&field),
            };
            if field.is_list() {
                schema = json!({ "type": "array", "items": schema });
            }
            let told = comment(&message.parent_file(), field.path());
            if let Some(members) = schema.as_object_mut().filter(|_| !told.is_empty()) {
                members.insert("description".to_owned(), told.into());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let told = comment(&message.parent_file(), message.path());
        let schema = json!({ "type": "object", "description": told, "properties": properties });
        self.made.insert(name, schema);
    }

    /// One value of a field, in the JSON mapping.
    fn value(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "format": "int32" })
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "pattern": "^-?[0-9]+$" })
            }
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "pattern": "^[0-9]+$" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Enum(words) => {
                self.words(&words);
                json!({ "$ref": place(words.full_name()) })
            }
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
                "google.protobuf.Duration" => {
                    json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$" })
                }
                "google.protobuf.Empty" => json!({ "type": "object" }),
                // An ErrorInfo, BadRequest, RetryInfo or Help.
                "google.protobuf.Any" => json!({
                    "type": "object",
                    "properties": { "@type": { "type": "string" } },
                    "required": ["@type"],
                }),
                _ => self.reference(&message),
            },
        }
    }

    fn words(&mut self, of: &EnumDescriptor) {
        let file = of.parent_file();
        let words: Vec<_> = of.values().map(|word| word.name().to_owned()).collect();
        let mut told = comment(&file, of.path());
        for word in of.values() {
            told += &format!("\n- `{}`: {}", word.name(), comment(&file, word.path()));
        }
        let schema = json!({ "type": "string", "enum": words, "description": told });
        self.made.insert(of.full_name().to_owned(), schema);
    }
}

fn place(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// What the proto says of a thing. Lines are joined, as they are broken for the proto's own width.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let file = file.file_descriptor_proto();
    let mut places = file.source_code_info.iter().flat_map(|info| &info.location);
    let told =
        places.find(|place| place.path == path).and_then(|place| place.leading_comments.as_deref());
    let lines = told.unwrap_or_default().trim().split("\n").map(str::trim);
    let mut text = String::new();
    for line in lines {
        match line {
            "" => text.push_str("\n\n"),
            _ => {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push(if line.starts_with("- ") { '\n' } else { ' ' });
                }
                text.push_str(line);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_EXPECT=1` writes it.
    #[test]
    fn the_committed_document_is_that_of_the_routes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let wanted = serde_json::to_string_pretty(&document().unwrap()).unwrap() + "\n";
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page == wanted, "UPDATE_EXPECT=1 writes docs/openapi.json");
    }

    #[test]
    fn everything_is_described() {
        let document = document().unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert!(schemas.len() > 40, "{}", schemas.len());
        for (name, schema) in schemas.iter().filter(|(name, _)| name.starts_with("tickfold")) {
            assert!(!schema["description"].as_str().unwrap().is_empty(), "{name}");
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                assert!(schema["description"].is_string(), "{name}.{field}");
            }
        }
        let paths = document["paths"].as_object().unwrap();
        let names: std::collections::BTreeSet<_> =
            paths.values().map(|item| item["get"]["operationId"].as_str().unwrap()).collect();
        assert_eq!(names.len(), paths.len(), "each operation has a name of its own");
        for (path, item) in paths {
            for parameter in item["get"]["parameters"].as_array().unwrap() {
                assert_ne!(parameter["description"], "", "{path} {parameter}");
            }
        }
    }
}
