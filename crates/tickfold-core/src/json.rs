//! A tolerant, lazy reading of JSON text: each value keeps its raw text and is looked into on demand,
//! so that one bad item cannot spoil its siblings.
//!
//! It accepts what the JSON grammar accepts, also where typed parsers give up: any nesting depth,
//! numbers beyond f64, lone surrogate escapes (read lossily), duplicate keys (the last one wins,
//! as in most parsers). Raw text is never re-serialised.
//!
//! The text is read once: its grammar is checked and each value noted. After that nothing is read that
//! is not asked for, and nothing is copied: a status stands seven levels deep, and most of what is
//! around it is never looked at.

mod notes;
mod path;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Visitor};

use notes::Note;
pub use path::Path;

/// Text that is JSON, with a note of each value.
#[derive(Debug)]
pub struct Document<'a> {
    text: &'a str,
    notes: Vec<Note>,
}

/// A value of a text.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a> {
    /// The whole text.
    text: &'a str,
    /// Its own note, that of what is in it, and maybe more.
    notes: &'a [Note],
}

/// Bytes are not JSON from this place on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("body is not JSON from byte {0} on")]
pub struct NotJson(usize);

impl<'a> Document<'a> {
    /// Checks the grammar of the whole text.
    pub fn parse(body: &'a [u8]) -> Result<Self, NotJson> {
        let text = std::str::from_utf8(body).map_err(|error| NotJson(error.valid_up_to()))?;
        let notes = notes::notes(text).map_err(NotJson)?;
        Ok(Self { text, notes })
    }

    /// The whole value.
    pub fn root(&self) -> Json<'_> {
        Json { text: self.text, notes: &self.notes }
    }
}

impl<'a> Json<'a> {
    /// The text as it was sent, without surrounding white space.
    pub fn raw(self) -> &'a str {
        self.notes.first().map(|note| note.raw(self.text)).unwrap_or_default()
    }

    /// The members, if this is an object.
    pub fn object(self) -> Option<Object<'a>> {
        self.raw().starts_with('{').then(|| Object(self.inside()))
    }

    /// The elements, if this is an array.
    pub fn array(self) -> Option<Elements<'a>> {
        self.raw().starts_with('[').then(|| self.inside())
    }

    /// What is in it, one after the other.
    fn inside(self) -> Elements<'a> {
        let count = self.notes.first().map_or(0, Note::count);
        Elements { text: self.text, notes: self.notes.get(1..count).unwrap_or_default() }
    }

    /// The text, if this is a string that is not empty; lone surrogates become U+FFFD.
    pub fn text(self) -> Option<Cow<'a, str>> {
        self.string().filter(|text| !text.is_empty())
    }

    /// The text, if this is a string.
    fn string(self) -> Option<Cow<'a, str>> {
        if self.notes.first().is_some_and(Note::is_escaped) {
            return unescaped(self.raw());
        }
        self.raw().strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
    }

    /// The text of a string that is not empty, or the digits of a number as they stand.
    pub fn scalar_text(self) -> Option<Cow<'a, str>> {
        match self.raw().as_bytes().first()? {
            b'"' => self.text(),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(self.raw())),
            _ => None,
        }
    }

    /// An id: a string that is not empty, or a whole number as its digits (never through f64).
    pub fn id(self) -> Option<Cow<'a, str>> {
        let text = self.scalar_text()?;
        let whole = self.raw().starts_with('"') || text.bytes().all(|b| b.is_ascii_digit());
        whole.then_some(text)
    }

    /// A whole number, written as number or text.
    pub fn integer(self) -> Option<i64> {
        self.scalar_text()?.trim().parse().ok()
    }

    /// A number, written as number or text; one beyond f64 is none.
    pub fn number(self) -> Option<f64> {
        self.scalar_text()?.trim().parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A truth value, written as such or as text.
    pub fn boolean(self) -> Option<bool> {
        match self.raw() {
            "true" | "\"true\"" => Some(true),
            "false" | "\"false\"" => Some(false),
            _ => None,
        }
    }

    /// True for what counts as a missing key: `null`, `""` and `[]`.
    pub fn is_absent(self) -> bool {
        match self.raw().as_bytes().first() {
            Some(b'n') => true,
            Some(b'"') => self.raw().len() == 2,
            Some(b'[') => {
                self.raw().bytes().skip(1).find(|b| !b.is_ascii_whitespace()) == Some(b']')
            }
            _ => false,
        }
    }
}

/// The elements of an array, in their order.
#[derive(Debug, Clone, Default)]
pub struct Elements<'a> {
    text: &'a str,
    notes: &'a [Note],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let this = Json { text: self.text, notes: self.notes };
        let count = self.notes.first()?.count();
        self.notes = self.notes.get(count..).unwrap_or_default();
        Some(this)
    }
}

/// The members of an object: name, value, name, value.
#[derive(Debug, Clone)]
pub struct Object<'a>(Elements<'a>);

impl<'a> Object<'a> {
    /// The last member of that name, unless it counts as missing (`null`, `""`, `[]`).
    pub fn get(&self, name: &str) -> Option<Json<'a>> {
        self.raw_member(name).filter(|json| !json.is_absent())
    }

    /// The last member of that name, whatever it holds.
    pub fn raw_member(&self, name: &str) -> Option<Json<'a>> {
        let Elements { text, notes: mut rest } = self.0;
        let mut found = None;
        while let [own, value, ..] = rest {
            if own.is_text(text, name) {
                found = rest.get(1..);
            }
            rest = rest.get(1 + value.count()..).unwrap_or_default();
        }
        found.map(|notes| Json { text, notes })
    }

    /// Names of the members, in their order.
    pub fn names(&self) -> impl Iterator<Item = Cow<'a, str>> {
        self.0.clone().step_by(2).filter_map(Json::string)
    }

    /// The text of a member that is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.text().map(Cow::into_owned)
    }

    /// The members of a member that is an object.
    pub fn object(&self, name: &str) -> Option<Object<'a>> {
        self.get(name)?.object()
    }
}

/// The text of a string in which something is escaped.
fn unescaped(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw).ok().map(|Lossy(text)| text)
}

/// A JSON string read as bytes, which is how serde_json hands out lone surrogates instead of
/// refusing them.
struct Lossy<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Lossy<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E: de::Error>(
                self,
                bytes: &'de [u8],
            ) -> Result<Self::Value, E> {
                Ok(String::from_utf8_lossy(bytes))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_bytes(Bytes).map(Lossy)
    }
}

/// The text without white space between tokens, which is what a digest of a value is taken over.
/// Key order is kept: a sender that changed it makes a new digest, which counts an event twice but
/// never loses one.
pub fn without_whitespace(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in raw.chars() {
        if in_string {
            out.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
        } else if !c.is_ascii_whitespace() {
            out.push(c);
            in_string = c == '"';
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    fn json(text: &str) -> Document<'_> {
        Document::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_last_duplicate_key_wins() {
        let document = json(r#"{"a":1,"\u0061":2}"#);
        let object = document.root().object().unwrap();
        assert_eq!(object.get("a").unwrap().raw(), "2");
    }

    #[test]
    fn null_empty_text_and_empty_array_are_absent() {
        let document = json(r#"{"a":null,"b":"","c":[ ],"d":[0],"e":{},"f":0}"#);
        let object = document.root().object().unwrap();
        let present: Vec<_> =
            "abcdef".chars().filter(|c| object.get(&c.to_string()).is_some()).collect();
        assert_eq!(present, ['d', 'e', 'f']);
    }

    #[test]
    fn lone_surrogates_are_read_lossily_in_keys_and_values() {
        let document = json(r#"{"k\ud83d":"a\ud83db"}"#);
        let object = document.root().object().unwrap();
        let name = object.names().next().unwrap();
        assert!(name.starts_with('k'));
        assert_eq!(object.get(&name).unwrap().text().unwrap().chars().next(), Some('a'));
    }

    #[test]
    fn deep_nesting_and_huge_numbers_are_kept_as_text() {
        let deep = format!("{{\"v\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(json(&deep).root().object().unwrap().get("v").unwrap().raw().len(), 200_000);
        assert_eq!(json("[1e400]").root().array().unwrap().next().unwrap().raw(), "1e400");
    }

    #[test]
    fn ids_are_text_or_whole_numbers() {
        assert_eq!(json("123456789012345678901").root().id().unwrap(), "123456789012345678901");
        assert_eq!(json(r#""0""#).root().id().unwrap(), "0");
        for bad in ["1.5", "-3", "1e3", "true", r#""""#, "{}", "null"] {
            assert!(json(bad).root().id().is_none(), "{bad}");
        }
    }

    #[test]
    fn rubbish_is_refused_without_panic() {
        for bad in [&b""[..], b"{", b"\xff", b"{\"a\":1}x", b"nul", b"[1,]", b"\"\\x\""] {
            assert!(Document::parse(bad).is_err());
        }
    }

    /// What the values say, opened level by level, as the parser reads it at once.
    fn opened(json: Json<'_>) -> Value {
        if let Some(object) = json.object() {
            let mut values = object.0.clone().skip(1).step_by(2);
            let member = |name: Cow<'_, str>| (name.into_owned(), opened(values.next().unwrap()));
            return object.names().map(member).collect::<serde_json::Map<_, _>>().into();
        }
        if let Some(elements) = json.array() {
            return elements.map(opened).collect();
        }
        match json.string() {
            Some(text) => text.into(),
            None => serde_json::from_str(json.raw()).unwrap(),
        }
    }

    #[test]
    fn levels_are_opened_as_the_parser_reads_them_at_once() {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            "[\\\\\"{}\\[\\],: /]{0,8}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(5, 40, 5, |inner| {
            let key = "[a-c\\\\\"{}\\[\\],: ]{0,3}";
            let members = prop::collection::vec((key, inner.clone()), 0..5);
            let object = members.prop_map(|members| Value::Object(members.into_iter().collect()));
            prop_oneof![prop::collection::vec(inner, 0..5).prop_map(Value::from), object]
        });
        proptest!(|(value in value, pretty: bool)| {
            let text = if pretty { format!(" {value:#}\n") } else { value.to_string() };
            prop_assert_eq!(opened(json(&text).root()), value);
        });
    }

    #[test]
    fn what_is_json_is_what_the_parser_takes_for_it() {
        let is_json = |text: &[u8]| serde_json::from_slice::<&RawValue>(text).is_ok();
        let tokens = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"",
            "\\",
            "\"\\u00e9\"",
            "\"\\ud8\"",
            "\"\\x\"",
            "0",
            "01",
            "-",
            "-0",
            "1.",
            "1.5",
            ".5",
            "1e9",
            "1E+",
            "1e-05",
            "true",
            "tru",
            "false",
            "null",
            " ",
            "\n",
            "\u{b}",
            "\u{1f}",
            "é",
            "\u{feff}",
        ]);
        let whole = r#" {"a":[1,-0.5e3,{"b":"\u00e9\\"},[],{}],"c":null,"d":[true,false]} "#;
        let broken = (0..whole.len(), any::<u8>(), any::<bool>()).prop_map(|(at, byte, cut)| {
            let mut bytes = whole.as_bytes().to_vec();
            if cut {
                bytes.truncate(at)
            } else {
                bytes[at] = byte
            }
            bytes
        });
        let built = prop::collection::vec(tokens, 0..8).prop_map(|all| all.concat().into_bytes());
        let config = ProptestConfig::with_cases(20_000);
        proptest!(config, |(text in prop_oneof![built, broken])| {
            prop_assert_eq!(Document::parse(&text).is_ok(), is_json(&text));
        });
    }

    #[test]
    fn white_space_goes_only_between_tokens() {
        assert_eq!(
            without_whitespace(r#" { "a b" : [ 1 , "c \" d\\" ] } "#),
            r#"{"a b":[1,"c \" d\\"]}"#
        );
    }
}
