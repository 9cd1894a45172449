//! What is checked of one raw record: that it is a record as this system writes them, and that who
//! signed its body had the secret that it names.
//!
//! Pure. What only neighbours or a sum can show is checked elsewhere.

use std::fmt;

use serde::Serialize;
use tickfold_core::raw::{
    CONTROL_REDRIVE, CONTROL_RULES, CONTROL_TICK, KIND_CONTROL, KIND_WEBHOOK, header,
    parse_position, rules_headers, tick_headers,
};
use tickfold_core::route::{ROUTE_VERSION, route};
use tickfold_core::rules::Rules;
use tickfold_core::signature::{Signature, verify};
use tickfold_core::time::Timestamp;
use tickfold_ingress::App;
use tickfold_log::Record;

/// Headers of a webhook, in their order.
const WEBHOOK: [&str; 8] = [
    header::KIND,
    header::SIGNATURE,
    header::RECEIVED_TIME,
    header::APP,
    header::SECRET_ID,
    header::REQUEST_ID,
    header::ROUTE_VERSION,
    header::PARTITION_COUNT,
];

/// Headers of a redrive, before those of the webhook that it repeats.
const REDRIVE: [&str; 4] =
    [header::KIND, header::CONTROL, header::REDRIVE_OF, header::REDRIVE_APPENDED];

/// Digits of a request's id: 128 bits.
const REQUEST_ID_DIGITS: usize = 32;

/// What records are checked against.
#[derive(Debug)]
pub(super) struct Checks<'a> {
    pub apps: &'a [App],
    pub partition_count: u32,
    /// Ids of secrets that are gone: what names one cannot be verified, and is counted.
    pub retired: &'a [String],
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A webhook whose signature holds.
    Webhook,
    /// A webhook whose secret is gone.
    Unverified,
    /// A redrive of the webhook at this offset, whose signature holds.
    Redrive(u64),
    /// A redrive of the webhook at this offset, whose secret is gone.
    UnverifiedRedrive(u64),
    Tick,
    Rules,
}

/// Which part of a record is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// The log cannot give the record.
    Log,
    /// Body and signature do not belong together.
    Signature,
    /// The secret that is named is unknown, or was not active.
    Secret,
    Header,
    Key,
    Body,
    /// Something in the range that the records one by one do not show.
    Digest,
    /// A store or a checkpoint.
    State,
}

impl Part {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Signature => "signature",
            Self::Secret => "secret",
            Self::Header => "header",
            Self::Key => "key",
            Self::Body => "body",
            Self::Digest => "digest",
            Self::State => "state",
        }
    }
}

/// The first thing that is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub part: Part,
    pub why: String,
}

fn fault<T>(part: Part, why: impl fmt::Display) -> Result<T, Fault> {
    Err(Fault { part, why: why.to_string() })
}

impl Checks<'_> {
    /// Looks at a record of a partition.
    pub(super) fn check(&self, partition: u32, record: &Record) -> Result<Kind, Fault> {
        let names: Vec<&str> = record.headers.iter().map(|header| &*header.name).collect();
        let control = text(record, header::CONTROL).ok();
        match (text(record, header::KIND)?, control) {
            (KIND_WEBHOOK, _) => {
                exactly(&names, &WEBHOOK)?;
                self.webhook(partition, record)
            }
            (KIND_CONTROL, Some(CONTROL_REDRIVE)) => {
                let repeated = WEBHOOK.get(1..).unwrap_or_default();
                exactly(&names, &[&REDRIVE[..], repeated].concat())?;
                let of = text(record, header::REDRIVE_OF)?;
                let of =
                    parse_position(of).filter(|(at, of)| *at == partition && *of < record.offset);
                let Some((_, of)) = of else {
                    return fault(
                        Part::Header,
                        "wa-redrive-of names no earlier record of the partition",
                    );
                };
                time(record, header::REDRIVE_APPENDED)?;
                match self.webhook(partition, record)? {
                    Kind::Unverified => Ok(Kind::UnverifiedRedrive(of)),
                    _ => Ok(Kind::Redrive(of)),
                }
            }
            (KIND_CONTROL, Some(CONTROL_TICK)) => {
                same(record, &tick_headers(self.partition_count))?;
                match (&record.key, record.value.as_deref()) {
                    // Ingress writes an empty value. A doctor of before wrote none: the same tick.
                    (None, None | Some([])) => Ok(Kind::Tick),
                    (Some(_), _) => fault(Part::Key, "a tick has none"),
                    (None, _) => fault(Part::Body, "that of a tick is empty"),
                }
            }
            (KIND_CONTROL, Some(CONTROL_RULES)) => {
                same(record, &rules_headers(self.partition_count))?;
                if record.key.is_some() {
                    return fault(Part::Key, "rules have none");
                }
                match Rules::parse(record.value.as_deref().unwrap_or_default()) {
                    Ok(_) => Ok(Kind::Rules),
                    Err(invalid) => fault(Part::Body, format_args!("rules: {invalid}")),
                }
            }
            (kind, control) => {
                let control = control.unwrap_or("no");
                fault(
                    Part::Header,
                    format_args!("wa-kind {kind:?} with {control:?} control is unknown"),
                )
            }
        }
    }

    /// Headers that a webhook and its redrives have, the signature, and where the body belongs.
    fn webhook(&self, partition: u32, record: &Record) -> Result<Kind, Fault> {
        let received = time(record, header::RECEIVED_TIME)?;
        let request_id = text(record, header::REQUEST_ID)?;
        let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if request_id.len() != REQUEST_ID_DIGITS || !request_id.chars().all(is_hex) {
            return fault(Part::Header, "wa-request-id is not one that ingress makes");
        }
        let version: u32 = number(record, header::ROUTE_VERSION)?;
        if version == 0 || version > ROUTE_VERSION {
            return fault(Part::Header, format_args!("wa-route-version {version} is unknown"));
        }
        if number(record, header::PARTITION_COUNT)? != self.partition_count {
            return fault(Part::Header, "wa-partition-count is not that of the topic");
        }
        let kind = self.signature(record, received)?;
        let body = record.value.as_deref().unwrap_or_default();
        let placed = route(body, self.partition_count);
        let Some(placed) = placed.into_iter().find(|placed| placed.partition == partition) else {
            return fault(Part::Body, "it does not belong to this partition");
        };
        if record.key.as_deref() != Some(&placed.key[..]) {
            return fault(Part::Key, "it is not that of the body in this partition");
        }
        Ok(kind)
    }

    fn signature(&self, record: &Record, received: Timestamp) -> Result<Kind, Fault> {
        let signature = record.header(header::SIGNATURE).and_then(|text| Signature::parse(text));
        let Some(signature) = signature else {
            return fault(Part::Signature, "wa-signature is missing or malformed");
        };
        let Some(body) = record.value.as_deref() else {
            return fault(Part::Body, "it is missing");
        };
        let (name, id) = (text(record, header::APP)?, text(record, header::SECRET_ID)?);
        let app = self.apps.iter().find(|app| app.name == name);
        let secret = app.and_then(|app| app.secrets.iter().find(|secret| secret.id == id));
        let Some(secret) = secret else {
            if self.retired.iter().any(|retired| retired == id) {
                return Ok(Kind::Unverified);
            }
            return fault(Part::Secret, format_args!("app {name:?} has no secret {id:?} here"));
        };
        if !verify(&secret.key, body, &signature) {
            return fault(
                Part::Signature,
                "it is not that of the body with the secret that is named",
            );
        }
        // One that came before its secret was known may have been let in later; one that came after
        // its secret had ended was signed by somebody who should not have it any more.
        if secret.active_until.is_some_and(|until| until <= received) {
            return fault(Part::Secret, format_args!("secret {id:?} was not active any more"));
        }
        Ok(Kind::Webhook)
    }
}

/// The one header of that name, as text.
fn text<'a>(record: &'a Record, name: &str) -> Result<&'a str, Fault> {
    let found = record.header(name).map(|value| std::str::from_utf8(value));
    match found {
        Some(Ok(text)) => Ok(text),
        Some(Err(_)) => fault(Part::Header, format_args!("{name} is not text")),
        None => fault(Part::Header, format_args!("{name} is missing")),
    }
}

/// A time as ingress writes it: no two texts are one time.
fn time(record: &Record, name: &str) -> Result<Timestamp, Fault> {
    let text = text(record, name)?;
    match Timestamp::parse_rfc3339(text).filter(|time| time.to_string() == text) {
        Some(time) => Ok(time),
        None => fault(Part::Header, format_args!("{name} is no time in our form")),
    }
}

fn number(record: &Record, name: &str) -> Result<u32, Fault> {
    let text = text(record, name)?;
    match text.parse::<u32>().ok().filter(|number| number.to_string() == text) {
        Some(number) => Ok(number),
        None => fault(Part::Header, format_args!("{name} is no number")),
    }
}

fn exactly(names: &[&str], wanted: &[&str]) -> Result<(), Fault> {
    if names == wanted {
        return Ok(());
    }
    let odd = names.iter().zip(wanted).find(|(name, wanted)| name != wanted);
    match odd {
        Some((name, wanted)) => {
            fault(Part::Header, format_args!("{name:?} stands where {wanted} should"))
        }
        None => fault(Part::Header, "there are too few or too many"),
    }
}

fn same(record: &Record, wanted: &[(&str, String)]) -> Result<(), Fault> {
    let names: Vec<&str> = record.headers.iter().map(|header| &*header.name).collect();
    exactly(&names, &wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
    let odd = record
        .headers
        .iter()
        .zip(wanted)
        .find(|(found, (_, value))| found.value != value.as_bytes());
    odd.map_or(Ok(()), |(found, _)| {
        fault(Part::Header, format_args!("{} is not right", found.name))
    })
}
