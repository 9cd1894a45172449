//! What a document has to keep to beyond its shape. The first thing that is wrong is named by its
//! path, such as `codes[3].codes[0]`, which is written out only then.

use std::collections::BTreeSet;
use std::fmt::Arguments;

use super::document::{
    Choice, CodeRule, Codes, Deadline, Directive, Document, Fallback, InboundDirective, InboundRule,
};
use super::{Invalid, RULES_ENTRIES_MAX, Span, normal_category};

/// The longest name in a document: a category, an account, a queue, a keyword. In bytes.
const NAME_BYTES_MAX: usize = 256;

/// What is remembered has to outlive Meta's longest retries, 7 days, by a day.
pub(super) const RETENTION_MIN: Span = Span::days(8);
const RETENTION_MAX: Span = Span::days(3_650);
const WAIT_MAX: Span = Span::days(30);
const ATTEMPTS_MAX: u8 = 10;

/// Checks everything but the version, which is judged by whoever knows the one in force.
pub(super) fn check(document: &Document) -> Result<(), Invalid> {
    let Document {
        version: _,
        retention,
        media_valid_for,
        actions_valid_for,
        offer_resend,
        codes,
        unknown_code,
        deadlines,
        fallbacks,
        inbound,
        window_closing_before,
    } = document;
    within(format_args!("retention"), *retention, RETENTION_MIN, RETENTION_MAX)?;
    within(format_args!("media_valid_for"), *media_valid_for, Span::minutes(1), WAIT_MAX)?;
    within(format_args!("actions_valid_for"), *actions_valid_for, Span::minutes(1), WAIT_MAX)?;
    if let Some(offer) = offer_resend {
        within(format_args!("offer_resend.after"), offer.after, Span::seconds(1), Span::hours(24))?;
        within(
            format_args!("offer_resend.valid_for"),
            offer.valid_for,
            Span::seconds(1),
            Span::hours(24),
        )?;
    }
    if let Some(before) = window_closing_before {
        within(format_args!("window_closing_before"), *before, Span::seconds(1), Span::hours(23))?;
    }
    check_codes(codes)?;
    check_directives(format_args!("unknown_code"), unknown_code)?;
    // A message has to be there still when its deadline comes.
    let wait_max = retention.as_millis() - Span::days(2).as_millis();
    check_deadlines(deadlines, wait_max)?;
    check_fallbacks(fallbacks)?;
    check_inbound(inbound)
}

fn check_codes(rules: &[CodeRule]) -> Result<(), Invalid> {
    entries(format_args!("codes"), rules.len())?;
    let mut taken = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let path = format_args!("codes[{at}]");
        entries(format_args!("{path}.codes"), rule.codes.len())?;
        if rule.codes.is_empty() {
            return Err(Invalid::new(format_args!("{path}.codes"), "names no code"));
        }
        for (index, codes) in rule.codes.iter().enumerate() {
            let path = format_args!("{path}.codes[{index}]");
            let (from, to) = codes.bounds();
            if from > to {
                return Err(Invalid::new(path, "`from` is above `to`"));
            }
            if taken.iter().any(|(first, last)| *first <= from && to <= *last) {
                return Err(Invalid::new(path, "an earlier rule takes it for every category"));
            }
        }
        categories(format_args!("{path}.categories"), &rule.categories)?;
        check_directives(format_args!("{path}.actions"), &rule.actions)?;
        if rule.categories.is_empty() {
            taken.extend(rule.codes.iter().map(Codes::bounds));
        }
    }
    Ok(())
}

fn check_directives(path: Arguments<'_>, directives: &[Directive]) -> Result<(), Invalid> {
    entries(path, directives.len())?;
    for (at, directive) in directives.iter().enumerate() {
        let here = format_args!("{path}[{at}]");
        if directives.iter().take(at).any(|earlier| earlier == directive) {
            return Err(Invalid::new(here, "stands there twice"));
        }
        match directive {
            Directive::SmsFallback {}
            | Directive::AwaitDeadline {}
            | Directive::SendTemplate {}
            | Directive::ReverifyRecipient {}
            | Directive::Alert {}
            | Directive::Halt { scope: _ } => {}
            Directive::SuppressRecipient { category } => {
                check_category(format_args!("{here}.category"), category)?;
            }
            Directive::BackOff { scope: _, delay } => {
                within(format_args!("{here}.delay"), *delay, Span::seconds(1), WAIT_MAX)?;
            }
            Directive::Resend { delay, attempts_max } => {
                within(format_args!("{here}.delay"), *delay, Span::seconds(0), WAIT_MAX)?;
                if !(1..=ATTEMPTS_MAX).contains(attempts_max) {
                    let reason = format!("is not between 1 and {ATTEMPTS_MAX}");
                    return Err(Invalid::new(format_args!("{here}.attempts_max"), reason));
                }
            }
        }
    }
    Ok(())
}

fn check_deadlines(deadlines: &[Deadline], wait_max_ms: i64) -> Result<(), Invalid> {
    entries(format_args!("deadlines"), deadlines.len())?;
    let mut seen = BTreeSet::new();
    for (at, deadline) in deadlines.iter().enumerate() {
        let path = format_args!("deadlines[{at}]");
        scope(path, deadline.waba_id.as_deref(), &deadline.category, &mut seen)?;
        within(format_args!("{path}.ttl"), deadline.ttl, Span::seconds(30), WAIT_MAX)?;
        within(format_args!("{path}.buffer"), deadline.buffer, Span::seconds(0), Span::days(1))?;
        if deadline.ttl.as_millis() + deadline.buffer.as_millis() > wait_max_ms {
            let reason = "with its buffer it reaches the last two days of the retention";
            return Err(Invalid::new(format_args!("{path}.ttl"), reason));
        }
    }
    Ok(())
}

fn check_fallbacks(fallbacks: &[Fallback]) -> Result<(), Invalid> {
    entries(format_args!("fallbacks"), fallbacks.len())?;
    let mut seen = BTreeSet::new();
    for (at, fallback) in fallbacks.iter().enumerate() {
        let path = format_args!("fallbacks[{at}]");
        scope(path, fallback.waba_id.as_deref(), &fallback.category, &mut seen)?;
        let path = format_args!("{path}.valid_for");
        within(path, fallback.valid_for, Span::seconds(1), WAIT_MAX)?;
    }
    Ok(())
}

fn check_inbound(rules: &[InboundRule]) -> Result<(), Invalid> {
    entries(format_args!("inbound"), rules.len())?;
    for (at, rule) in rules.iter().enumerate() {
        let path = format_args!("inbound[{at}]");
        if let Some(waba_id) = &rule.waba_id {
            name(format_args!("{path}.waba_id"), waba_id)?;
        }
        match &rule.when {
            Choice::ButtonPayload(text) => name(format_args!("{path}.when.button_payload"), text)?,
            Choice::ButtonText(text) => name(format_args!("{path}.when.button_text"), text)?,
            Choice::ListId(text) => name(format_args!("{path}.when.list_id"), text)?,
            Choice::Keyword(text) => {
                let path = format_args!("{path}.when.keyword");
                name(path, text)?;
                if text.trim() != text {
                    return Err(Invalid::new(path, "begins or ends with white space"));
                }
            }
        }
        match &rule.then {
            InboundDirective::Route { queue } => name(format_args!("{path}.then.queue"), queue)?,
            InboundDirective::SuppressRecipient { category } => {
                check_category(format_args!("{path}.then.category"), category)?;
            }
        }
    }
    Ok(())
}

/// One entry per account and category.
fn scope<'a>(
    path: Arguments<'_>,
    waba_id: Option<&'a str>,
    category: &'a str,
    seen: &mut BTreeSet<(Option<&'a str>, &'a str)>,
) -> Result<(), Invalid> {
    if let Some(waba_id) = waba_id {
        name(format_args!("{path}.waba_id"), waba_id)?;
    }
    check_category(format_args!("{path}.category"), category)?;
    if !seen.insert((waba_id, category)) {
        return Err(Invalid::new(format_args!("{path}.category"), "has an entry already"));
    }
    Ok(())
}

fn categories(path: Arguments<'_>, names: &[String]) -> Result<(), Invalid> {
    entries(path, names.len())?;
    let mut checked = names.iter().enumerate();
    checked.try_for_each(|(at, text)| check_category(format_args!("{path}[{at}]"), text))
}

fn check_category(path: Arguments<'_>, text: &str) -> Result<(), Invalid> {
    name(path, text)?;
    match normal_category(text) == text {
        true => Ok(()),
        false => Err(Invalid::new(path, "is not in lower case with `_`")),
    }
}

fn name(path: Arguments<'_>, text: &str) -> Result<(), Invalid> {
    match text.len() {
        0 => Err(Invalid::new(path, "is empty")),
        1..=NAME_BYTES_MAX => Ok(()),
        _ => Err(Invalid::new(path, format!("is longer than {NAME_BYTES_MAX} bytes"))),
    }
}

fn entries(path: Arguments<'_>, count: usize) -> Result<(), Invalid> {
    match count <= RULES_ENTRIES_MAX {
        true => Ok(()),
        false => Err(Invalid::new(path, format!("has more than {RULES_ENTRIES_MAX} entries"))),
    }
}

fn within(path: Arguments<'_>, span: Span, least: Span, most: Span) -> Result<(), Invalid> {
    match (least..=most).contains(&span) {
        true => Ok(()),
        false => Err(Invalid::new(path, format!("is {span}, not between {least} and {most}"))),
    }
}
