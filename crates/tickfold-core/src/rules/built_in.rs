//! Table 1: the rules that hold before the first record of rules.
//!
//! What the error codes mean is Meta's; what to do about them is ours, and an operator replaces it
//! with a document of their own. Two restraints shape the table: an action that reaches a customer
//! is never guessed (no marketing by another channel, no retry that the table does not name), and
//! a code that nobody has met yet only alerts.

use super::Span;
use super::document::{
    BackOffScope, CodeRange, CodeRule, Codes, Deadline, Directive, Document, Fallback, HaltScope,
    OfferResend,
};

/// Version of the built-in rules. Every record of rules has a greater one.
pub const BUILT_IN_RULES: u32 = 1;

/// The category of a message of which no status named one.
pub const UNKNOWN_CATEGORY: &str = "unknown";

/// The built-in document.
pub(super) fn document() -> Document {
    Document {
        version: BUILT_IN_RULES,
        retention: Span::days(90),
        media_valid_for: Span::days(7),
        actions_valid_for: Span::hours(24),
        offer_resend: Some(OfferResend { after: Span::seconds(60), valid_for: Span::minutes(10) }),
        codes: codes(),
        unknown_code: vec![ALERT],
        deadlines: deadlines(),
        fallbacks: fallbacks(),
        inbound: Vec::new(),
        window_closing_before: Some(Span::hours(1)),
    }
}

const ALERT: Directive = Directive::Alert {};
const SMS: Directive = Directive::SmsFallback {};
const AUTHENTICATION: [&str; 2] = ["authentication", "authentication_international"];

fn halt(scope: HaltScope) -> Directive {
    Directive::Halt { scope }
}

fn back_off(scope: BackOffScope, delay: Span) -> Directive {
    Directive::BackOff { scope, delay }
}

fn resend() -> Directive {
    Directive::Resend { delay: Span::seconds(30), attempts_max: 3 }
}

/// Only authentication has a deadline of its own: of the others Meta's default time to live is 30
/// days, after which no other channel helps anybody. Who sets a shorter one on templates adds it.
fn deadlines() -> Vec<Deadline> {
    let deadline = |category: &str| Deadline {
        category: category.to_owned(),
        waba_id: None,
        ttl: Span::minutes(10),
        buffer: Span::seconds(60),
    };
    AUTHENTICATION.map(deadline).into()
}

/// A failure often names no category, so the unknown one is in the list: whoever carries out the
/// action knows what the message was, and a login code that never comes is worse than a question.
fn fallbacks() -> Vec<Fallback> {
    let fallback = |category: &str, valid_for| Fallback {
        category: category.to_owned(),
        waba_id: None,
        valid_for,
    };
    vec![
        fallback("authentication", Span::minutes(10)),
        fallback("authentication_international", Span::minutes(10)),
        fallback("utility", Span::hours(24)),
        fallback(UNKNOWN_CATEGORY, Span::hours(1)),
    ]
}

fn codes() -> Vec<CodeRule> {
    use BackOffScope::{Account, App, Message, Number, Recipient};
    let minute = Span::minutes(1);
    vec![
        rule(&[131_026], [SMS]),
        // 470, 131027 and 130470 are its older spellings.
        rule(&[131_047, 470, 131_027, 130_470], [Directive::SendTemplate {}]),
        // The limit is one of marketing; what is none of it may still go another way.
        rule_of(&["authentication", "authentication_international", "utility"], &[131_049], [SMS]),
        rule(&[131_049], [back_off(Recipient, Span::hours(24))]),
        rule(&[131_050], [Directive::SuppressRecipient { category: "marketing".to_owned() }]),
        rule(&[130_472], [SMS]),
        rule(&[131_051, 131_052, 131_053, 131_014], []),
        rule(&[130_429], [back_off(Number, minute)]),
        rule(&[131_056], [back_off(Recipient, minute)]),
        rule(&[131_048], [halt(HaltScope::Number), ALERT]),
        rule(&[131_064], [halt(HaltScope::Number)]),
        rule(&[4], [back_off(App, minute)]),
        rule(&[80_007], [back_off(Account, minute)]),
        rule(&[131_000, 135_000, 1, 2], [resend()]),
        rule(&[131_016, 133_004], [back_off(Message, minute)]),
        rule(&[131_057, 2_494_100], [back_off(Account, Span::minutes(5))]),
        CodeRule {
            codes: [0, 3, 10, 190, 131_005]
                .map(Codes::One)
                .into_iter()
                .chain([range(200, 299)])
                .collect(),
            categories: Vec::new(),
            actions: vec![halt(HaltScope::Account), ALERT],
        },
        rule(&[33, 100, 131_008, 131_009, 131_021, 131_055, 131_030], []),
        rule(&[131_031, 368], [halt(HaltScope::Account), ALERT]),
        rule(&[130_497], [halt(HaltScope::Country)]),
        rule(&[131_035], [ALERT]),
        // Another device of the customer may have it, so the deadline decides, not the failure.
        rule(&[131_036], [Directive::AwaitDeadline {}]),
        rule(&[131_037], [halt(HaltScope::Number)]),
        rule(&[131_042, 131_044], [halt(HaltScope::Account), ALERT]),
        rule(&[131_045, 133_010], [halt(HaltScope::Number)]),
        rule(&[131_060, 131_062, 131_063], []),
        rule(&[132_000, 132_001, 132_005, 132_008, 132_012, 132_018], [halt(HaltScope::Template)]),
        rule(&[132_007, 132_016], [halt(HaltScope::Template)]),
        // Also of each message that pacing dropped; of those only the urgent ones go another way.
        rule_of(&AUTHENTICATION, &[132_015], [halt(HaltScope::Template), SMS]),
        rule(&[132_015], [halt(HaltScope::Template)]),
        rule(&[132_068], []),
        rule(&[132_069], [back_off(Account, minute)]),
        rule(&[134_101], [back_off(Account, Span::minutes(10))]),
        rule(&[134_100, 134_102], [back_off(Account, Span::minutes(10))]),
        rule(&[134_011], [ALERT]),
        rule(&[137_000], [Directive::ReverifyRecipient {}]),
        CodeRule {
            codes: vec![Codes::One(131_020), Codes::One(131_041), range(131_200, 131_299)],
            categories: Vec::new(),
            actions: Vec::new(),
        },
        CodeRule {
            codes: vec![range(138_000, 138_099)],
            categories: Vec::new(),
            actions: Vec::new(),
        },
        CodeRule {
            codes: vec![range(2_593_107, 2_593_109)],
            categories: Vec::new(),
            actions: Vec::new(),
        },
        rule(&[2_046, 2_047], []),
    ]
}

fn rule<const N: usize>(codes: &[i64], actions: [Directive; N]) -> CodeRule {
    rule_of(&[], codes, actions)
}

fn rule_of<const N: usize>(
    categories: &[&str],
    codes: &[i64],
    actions: [Directive; N],
) -> CodeRule {
    CodeRule {
        codes: codes.iter().copied().map(Codes::One).collect(),
        categories: categories.iter().map(|&category| category.to_owned()).collect(),
        actions: actions.into(),
    }
}

fn range(from: i64, to: i64) -> Codes {
    Codes::Range(CodeRange { from, to })
}
