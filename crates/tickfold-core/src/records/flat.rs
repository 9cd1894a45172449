//! Writes a record of a topic as JSON, byte for byte as `serde_json` would.
//!
//! Records are objects of scalars whose names are words of ours. A writer of anything has to look
//! for something to escape in every byte of every name, and that was a third of what an output costs.

use std::fmt::Display;

use serde::ser::{self, Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};

/// A record that is no object of scalars; none of ours is one.
#[derive(Debug, thiserror::Error)]
#[error("write a record: {0}")]
pub(crate) struct NotFlat(String);

/// Appends the record.
pub(crate) fn write(out: &mut Vec<u8>, record: &impl Serialize) -> Result<(), NotFlat> {
    record.serialize(Writer { out, is_name: false })
}

/// Where a value is written.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// It is the name of a member, so nothing in it has to be escaped.
    is_name: bool,
}

/// The members of an object, as far as they are written.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    /// What stands before the next one.
    before: u8,
}

/// What needs no rule of its own.
fn plain(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), NotFlat> {
    serde_json::to_writer(out, value).map_err(ser::Error::custom)
}

/// A text in quotes, escaped if need be.
fn text(out: &mut Vec<u8>, text: &str) -> Result<(), NotFlat> {
    // Without a way out before the end, so that many bytes are looked at at once.
    let is_plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    if !text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        return plain(out, &text);
    }
    quoted(out, text);
    Ok(())
}

fn quoted(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

macro_rules! scalars {
    ($($method:ident($kind:ty);)*) => {
        $(fn $method(self, value: $kind) -> Result<(), NotFlat> {
            plain(self.out, &value)
        })*
    };
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = NotFlat;
    type SerializeSeq = Impossible<(), NotFlat>;
    type SerializeTuple = Impossible<(), NotFlat>;
    type SerializeTupleStruct = Impossible<(), NotFlat>;
    type SerializeTupleVariant = Impossible<(), NotFlat>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Impossible<(), NotFlat>;

    scalars! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), NotFlat> {
        if !self.is_name {
            return text(self.out, value);
        }
        quoted(self.out, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), NotFlat> {
        plain(self.out, &())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotFlat> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotFlat> {
        plain(self.out, &())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotFlat> {
        value.serialize(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, NotFlat> {
        Ok(Members { out: self.out, before: b'{' })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, NotFlat> {
        self.serialize_map(None)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), NotFlat> {
        refuse("bytes")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), NotFlat> {
        refuse(name)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<(), NotFlat> {
        refuse(name)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), NotFlat> {
        refuse(name)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, NotFlat> {
        refuse("a list")
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, NotFlat> {
        refuse("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, NotFlat> {
        refuse(name)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NotFlat> {
        refuse(name)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, NotFlat> {
        refuse(name)
    }
}

fn refuse<T>(what: &str) -> Result<T, NotFlat> {
    Err(NotFlat(format!("{what} is not a scalar")))
}

impl ser::Error for NotFlat {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Members<'_> {
    // In place for each member: a name is known where the code for it is made.
    #[inline]
    fn member<K, V>(&mut self, name: &K, value: &V) -> Result<(), NotFlat>
    where
        K: Serialize + ?Sized,
        V: Serialize + ?Sized,
    {
        self.out.push(self.before);
        self.before = b',';
        name.serialize(Writer { out: self.out, is_name: true })?;
        self.out.push(b':');
        value.serialize(Writer { out: self.out, is_name: false })
    }

    fn close(self) {
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = NotFlat;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), NotFlat> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), NotFlat> {
        self.close();
        Ok(())
    }
}

/// What a record with the fields of another in it is taken for.
impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = NotFlat;

    #[inline]
    fn serialize_entry<K, V>(&mut self, name: &K, value: &V) -> Result<(), NotFlat>
    where
        K: Serialize + ?Sized,
        V: Serialize + ?Sized,
    {
        self.member(name, value)
    }

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), NotFlat> {
        refuse("a name without its value")
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), NotFlat> {
        refuse("a value without its name")
    }

    fn end(self) -> Result<(), NotFlat> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;
    use crate::time::Timestamp;

    #[derive(Serialize)]
    struct Inner {
        first: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<Timestamp>,
    }

    #[derive(Serialize)]
    struct Record<'a> {
        #[serde(flatten)]
        inner: Inner,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        none: Option<u32>,
        whole: i64,
        number: f64,
    }

    #[test]
    fn records_are_written_as_serde_json_writes_them() {
        let text = prop_oneof![".*", "[\\x00-\\x7f]{0,40}", "[\"\\\\/a-z\u{7f}\u{2028}é]{0,40}"];
        let record = (text, any::<Option<i64>>(), any::<i64>(), any::<f64>());
        proptest!(|((text, time, whole, number) in record, first: bool)| {
            let inner = Inner { first, time: time.map(Timestamp::from_millis) };
            let text = (!first).then_some(text.as_str());
            let record = Record { inner, text, none: None, whole, number };
            let (mut flat, mut bare) = (Vec::new(), Vec::new());
            write(&mut flat, &record).unwrap();
            write(&mut bare, &record.inner).unwrap();
            prop_assert_eq!(flat, serde_json::to_vec(&record).unwrap());
            prop_assert_eq!(bare, serde_json::to_vec(&record.inner).unwrap());
        });
    }

    #[test]
    fn what_is_not_flat_is_refused() {
        let mut out = Vec::new();
        assert!(write(&mut out, &[1, 2]).is_err());
        assert!(write(&mut out, &std::collections::BTreeMap::from([("a", vec![1])])).is_err());
        let empty = std::collections::BTreeMap::<String, u8>::new();
        out.clear();
        write(&mut out, &empty).unwrap();
        assert_eq!(out, b"{}");
    }
}
