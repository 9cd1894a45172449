//! Between parameters, messages and JSON, by the descriptors that the listener also shows by reflection:
//! the canonical JSON mapping of protobuf. There is no second definition of what a reply looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor,
};
use serde_json::{Value, json};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use super::routes::Route;
use crate::reasons::Failure;

/// The services and what they import, and what errors are made of. Empty if the build is broken, which a
/// test would see.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = DescriptorPool::new();
    for set in [tonic_types::pb::FILE_DESCRIPTOR_SET, tickfold_proto::FILE_DESCRIPTOR_SET] {
        if let Err(error) = pool.decode_file_descriptor_set(set) {
            tracing::error!(error = &error as &dyn std::error::Error, "read descriptors");
        }
    }
    pool
});

/// Deepest nesting of a field that is named in a parameter.
const DEPTH_MAX: usize = 4;

pub(crate) fn method(route: &Route) -> Option<MethodDescriptor> {
    let service = POOL.get_service_by_name(route.service)?;
    service.methods().find(|method| method.name() == route.method)
}

pub(crate) fn message(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(name)
}

/// The request that parameters say: each names a field, fields of a message inside it by dots.
pub(crate) fn request<'a>(
    of: &MessageDescriptor,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<DynamicMessage, Failure> {
    let mut request = DynamicMessage::new(of.clone());
    let (mut given, mut chosen) = (BTreeSet::new(), BTreeMap::new());
    for (name, value) in parameters {
        let path = fields(of, name)?;
        for (depth, field) in path.iter().enumerate() {
            let Some(one_of) = field.containing_oneof() else { continue };
            let place = (depth, one_of.full_name().to_owned());
            let before = chosen.insert(place, field.number());
            if before.is_some_and(|before| before != field.number()) {
                return Err(Failure::argument(name, "another parameter excludes it"));
            }
        }
        let repeats = path.last().is_some_and(FieldDescriptor::is_list);
        let names: Vec<_> = path.iter().map(FieldDescriptor::number).collect();
        if !given.insert(names) && !repeats {
            return Err(Failure::argument(name, "is given more than once"));
        }
        // Protobuf's own merging puts them together, and an error is that of one parameter.
        let one = one(of, &path, value).map_err(|what| Failure::argument(name, what))?;
        let merged = request.merge(one.encode_to_vec().as_slice());
        merged.map_err(|error| Failure::argument(name, error.to_string()))?;
    }
    Ok(request)
}

/// The fields that a parameter names, from the outermost in.
fn fields(of: &MessageDescriptor, name: &str) -> Result<Vec<FieldDescriptor>, Failure> {
    let (mut path, mut inside): (Vec<FieldDescriptor>, _) = (Vec::new(), Some(of.clone()));
    for part in name.split('.') {
        let known = inside.take().filter(|_| path.len() < DEPTH_MAX);
        let field = known.and_then(|message| {
            message.get_field_by_json_name(part).or_else(|| message.get_field_by_name(part))
        });
        let Some(field) = field else {
            return Err(Failure::argument(name, "there is no such parameter"));
        };
        inside = held(&field).filter(|_| !field.is_list());
        path.push(field);
    }
    Ok(path)
}

/// The message that a field holds, if its fields can be named. A place is written at once, or by its two.
pub(crate) fn held(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) => match written(&message) {
            Written::ByField | Written::Place => Some(message),
            Written::Flag | Written::Text => None,
        },
        _ => None,
    }
}

/// How a message is written in a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// `PARTITION:OFFSET`.
    Place,
    /// `true`: it has nothing but its presence.
    Flag,
    /// As text, by the mapping.
    Text,
    /// Each of its fields by its own parameter.
    ByField,
}

pub(crate) fn written(message: &MessageDescriptor) -> Written {
    let names: BTreeSet<_> = message.fields().map(|field| field.name().to_owned()).collect();
    match message.full_name() {
        "google.protobuf.Empty" => Written::Flag,
        "google.protobuf.Timestamp" | "google.protobuf.Duration" => Written::Text,
        _ if names.iter().eq(["offset", "partition"]) => Written::Place,
        _ => Written::ByField,
    }
}

/// A request with one field alone.
fn one(
    of: &MessageDescriptor,
    path: &[FieldDescriptor],
    value: &str,
) -> Result<DynamicMessage, String> {
    let Some(last) = path.last() else { return Err("is empty".to_owned()) };
    let mut json = single(last, value)?;
    if last.is_list() {
        json = json!([json]);
    }
    for field in path.iter().rev() {
        json = json!({ field.json_name(): json });
    }
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(of.clone(), json, &options)
        .map_err(|error| error.to_string())
}

fn single(field: &FieldDescriptor, value: &str) -> Result<Value, String> {
    let flag = || value.parse::<bool>().map_err(|_| "is neither true nor false".to_owned());
    match field.kind() {
        Kind::Bool => flag().map(Value::Bool),
        Kind::Message(message) => match written(&message) {
            Written::Text => Ok(value.into()),
            Written::Flag => match flag()? {
                true => Ok(json!({})),
                false => Err("can only be true, or left out".to_owned()),
            },
            Written::Place => {
                let (partition, offset) =
                    value.split_once(':').ok_or("is not of the form PARTITION:OFFSET")?;
                Ok(json!({ "partition": partition, "offset": offset }))
            }
            Written::ByField => Err("has fields of its own: name one, with a dot".to_owned()),
        },
        _ => Ok(value.into()),
    }
}

/// A message as JSON.
pub(crate) fn of(message: &DynamicMessage) -> Result<String, serde_json::Error> {
    serde_json::to_string(message)
}

/// `google.rpc.Status`, details and all.
pub(crate) fn of_status(status: &Status) -> String {
    let plain = || {
        let code = i32::from(status.code());
        json!({ "code": code, "message": status.message() }).to_string()
    };
    let Some(descriptor) = message("google.rpc.Status") else { return plain() };
    // What tonic refuses by itself has no details.
    let told = Some(status.details()).filter(|details| !details.is_empty());
    let told = told.and_then(|details| DynamicMessage::decode(descriptor, details).ok());
    told.and_then(|told| of(&told).ok()).unwrap_or_else(plain)
}

/// Requests and replies by their descriptors.
#[derive(Debug, Clone)]
pub(crate) struct ByDescriptor(pub(crate) MessageDescriptor);

impl Codec for ByDescriptor {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Encoding;
    type Decoder = Self;

    fn encoder(&mut self) -> Encoding {
        Encoding
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

/// Of requests.
#[derive(Debug)]
pub(crate) struct Encoding;

impl Encoder for Encoding {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item.encode_to_vec());
        Ok(())
    }
}

impl Decoder for ByDescriptor {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let decoded = DynamicMessage::decode(self.0.clone(), bytes);
        decoded.map(Some).map_err(|error| Status::new(Code::Internal, error.to_string()))
    }
}
