//! Keys of rows: one prefix byte per family, then a key whose byte order is the order of the domain
//! type.
//!
//! Ids may contain any byte. In a key of several parts every part but the last is escaped and ended
//! by a mark, so that no id can reach into its neighbour and order is kept; a last part stands as
//! it is, unless it is listed in falling order.

use tickfold_core::action::ActionId;
use tickfold_core::charge::TotalKey;
use tickfold_core::ids::{
    CallId, ConversationKey, GroupKey, NaturalKey, PartyId, PaymentKey, PhoneNumberId, TemplateId,
    TemplateKey, UserKey, WabaId, Wamid,
};
use tickfold_core::state::{ListedBy, TimerKey, TimerKind};
use tickfold_core::time::Timestamp;

use crate::codec::Damage;
use crate::{MessageListItem, RowKind};

/// The table of families: append-only, since stores outlive the version that wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Family {
    /// Facts about the store itself: see [`FORMAT`], [`HEAD`], [`UNINDEXED`].
    Meta = 0x01,
    /// wamid → message.
    Message = 0x10,
    /// (phone number id, party) → conversation.
    Conversation = 0x11,
    /// (account, template id, language) → template.
    Template = 0x12,
    /// account → account.
    Account = 0x13,
    /// phone number id → number.
    Number = 0x14,
    /// (account, identifier) → user.
    User = 0x15,
    /// call id → call.
    Call = 0x16,
    /// (phone number id, group id) → group.
    Group = 0x17,
    /// (wamid, reference id, transaction id) → payment.
    Payment = 0x18,
    /// natural key → where it came first.
    Natural = 0x20,
    /// (due, kind, key) → nothing: the timer is armed.
    Timer = 0x21,
    /// id of an action or alert → what is remembered of it.
    Decided = 0x22,
    /// What the partition itself goes by: one row.
    Regime = 0x23,
    /// (account, month, category, type) → number of charges.
    ChargeTotal = 0x24,
    /// (phone number id, party, falling list time, falling wamid) → nothing. Follows from messages.
    MessageOfConversation = 0x40,
    /// Transitions, which earlier versions kept beside their topic. Deleted when a store is opened.
    Change = 0x41,
    /// (trace id, wamid) → nothing. Follows from messages.
    MessageOfTrace = 0x42,
    /// (label name, label value, falling list time, falling wamid) → nothing. Follows from messages.
    MessageOfLabel = 0x43,
    /// (listed by, word, account, template id, language) → nothing. Follows from templates.
    TemplateListed = 0x44,
    /// (listed by, word, account) → nothing. Follows from accounts.
    AccountListed = 0x45,
    /// (listed by, word, phone number id) → nothing. Follows from numbers.
    NumberListed = 0x46,
    /// (phone number id, falling list time, falling wamid) → nothing. Follows from messages.
    MessageOfNumber = 0x47,
}

/// Families in the digest: state, not what follows from it.
pub(crate) const DIGESTED: [Family; 14] = [
    Family::Message,
    Family::Conversation,
    Family::Template,
    Family::Account,
    Family::Number,
    Family::User,
    Family::Call,
    Family::Group,
    Family::Payment,
    Family::Natural,
    Family::Timer,
    Family::Decided,
    Family::Regime,
    Family::ChargeTotal,
];

/// Format version of the store: four bytes, most significant first.
pub(crate) const FORMAT: [u8; 2] = [Family::Meta as u8, b'f'];
/// Where the store stands.
pub(crate) const HEAD: [u8; 2] = [Family::Meta as u8, b'h'];
/// What earlier versions said of the transitions they kept.
pub(crate) const CHANGE_LOG: [u8; 2] = [Family::Meta as u8, b'c'];
/// Where to go on with index rows that an earlier format does not have; gone once all are there.
pub(crate) const UNINDEXED: [u8; 2] = [Family::Meta as u8, b'u'];

impl Family {
    fn key(self) -> Vec<u8> {
        self.key_with_room(PARTS_ROOM)
    }

    fn key_with_room(self, room: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + room);
        bytes.push(self as u8);
        bytes
    }

    /// The family of a kind of state.
    pub(crate) fn of(kind: RowKind) -> Self {
        match kind {
            RowKind::Message => Self::Message,
            RowKind::Conversation => Self::Conversation,
            RowKind::Template => Self::Template,
            RowKind::Account => Self::Account,
            RowKind::Number => Self::Number,
            RowKind::User => Self::User,
            RowKind::Call => Self::Call,
            RowKind::Group => Self::Group,
            RowKind::Payment => Self::Payment,
            RowKind::Decided => Self::Decided,
            RowKind::ChargeTotal => Self::ChargeTotal,
            RowKind::Natural => Self::Natural,
            RowKind::Timer => Self::Timer,
            RowKind::Regime => Self::Regime,
        }
    }

    /// The first key of the family and the first behind it.
    pub(crate) fn bounds(self) -> ([u8; 1], [u8; 1]) {
        ([self as u8], [self as u8 + 1])
    }
}

/// For the parts of a key: a number, a party, a time and a wamid have about so many bytes. A key that
/// finds its room is allocated once.
const PARTS_ROOM: usize = 111;

/// Ends an escaped part. Below every escaped byte, so that a part sorts before its continuations.
const END: [u8; 2] = [0x00, 0x01];
/// Stands for a zero byte inside a part.
const ZERO: [u8; 2] = [0x00, 0xff];

pub(crate) fn message(key: &Wamid) -> Vec<u8> {
    single(Family::Message, key.as_str())
}

pub(crate) fn conversation(key: &ConversationKey) -> Vec<u8> {
    let mut bytes = Family::Conversation.key();
    push_conversation(&mut bytes, key);
    bytes
}

pub(crate) fn template(key: &TemplateKey) -> Vec<u8> {
    let mut bytes = Family::Template.key();
    push_template(&mut bytes, key);
    bytes
}

pub(crate) fn account(key: &WabaId) -> Vec<u8> {
    single(Family::Account, key.as_str())
}

pub(crate) fn number(key: &PhoneNumberId) -> Vec<u8> {
    single(Family::Number, key.as_str())
}

pub(crate) fn user(key: &UserKey) -> Vec<u8> {
    let mut bytes = Family::User.key();
    push_escaped(&mut bytes, key.waba_id.as_str());
    bytes.extend_from_slice(key.party.as_str().as_bytes());
    bytes
}

pub(crate) fn call(key: &CallId) -> Vec<u8> {
    single(Family::Call, key.as_str())
}

pub(crate) fn group(key: &GroupKey) -> Vec<u8> {
    let mut bytes = Family::Group.key();
    push_escaped(&mut bytes, key.phone_number_id.as_str());
    bytes.extend_from_slice(key.group.as_str().as_bytes());
    bytes
}

pub(crate) fn payment(key: &PaymentKey) -> Vec<u8> {
    let mut bytes = Family::Payment.key();
    push_payment(&mut bytes, key);
    bytes
}

pub(crate) fn natural(key: &NaturalKey) -> Vec<u8> {
    single(Family::Natural, key.as_str())
}

pub(crate) fn decided(key: &ActionId) -> Vec<u8> {
    single(Family::Decided, key.as_str())
}

pub(crate) fn regime() -> Vec<u8> {
    Family::Regime.key_with_room(0)
}

/// Sorts as [`TotalKey`].
pub(crate) fn total(key: &TotalKey) -> Vec<u8> {
    let mut bytes = Family::ChargeTotal.key();
    push_escaped(&mut bytes, key.waba_id.as_str());
    push_escaped(&mut bytes, &key.month);
    push_escaped(&mut bytes, &key.category);
    bytes.extend_from_slice(key.kind.as_bytes());
    bytes
}

/// The prefix of all totals of an account, or of one month of it.
pub(crate) fn totals_of(waba_id: &WabaId, month: Option<&str>) -> Vec<u8> {
    let mut bytes = Family::ChargeTotal.key();
    push_escaped(&mut bytes, waba_id.as_str());
    if let Some(month) = month {
        push_escaped(&mut bytes, month);
    }
    bytes
}

/// The total's key of a key that [`total`] made.
pub(crate) fn parse_total(bytes: &[u8]) -> Result<TotalKey, Damage> {
    let rest = bytes
        .strip_prefix(&[Family::ChargeTotal as u8])
        .ok_or_else(|| Damage("key of a total is of another family".to_owned()))?;
    let (waba_id, rest) = split_escaped(rest)?;
    let (month, rest) = split_escaped(rest)?;
    let (category, kind) = split_escaped(rest)?;
    Ok(TotalKey {
        waba_id: WabaId::new(text(&waba_id)?),
        month: text(&month)?.to_owned(),
        category: text(&category)?.to_owned(),
        kind: text(kind)?.to_owned(),
    })
}

/// Sorts exactly as [`TimerKey`]: due, kind in the order of its variants, key.
pub(crate) fn timer(key: &TimerKey) -> Vec<u8> {
    let mut bytes = Family::Timer.key();
    bytes.extend_from_slice(&rising_time(key.due));
    match &key.kind {
        TimerKind::ExpireMessage(wamid) => {
            bytes.push(1);
            bytes.extend_from_slice(wamid.as_str().as_bytes());
        }
        TimerKind::ExpireConversation(conversation) => {
            bytes.push(2);
            push_conversation(&mut bytes, conversation);
        }
        TimerKind::ExpireNatural(natural) => {
            bytes.push(3);
            bytes.extend_from_slice(natural.as_str().as_bytes());
        }
        TimerKind::CloseWindow(conversation) => {
            bytes.push(4);
            push_conversation(&mut bytes, conversation);
        }
        TimerKind::EndFreeEntry(conversation) => {
            bytes.push(5);
            push_conversation(&mut bytes, conversation);
        }
        TimerKind::ExpireCall(call) => {
            bytes.push(6);
            bytes.extend_from_slice(call.as_str().as_bytes());
        }
        TimerKind::ExpirePayment(payment) => {
            bytes.push(7);
            push_payment(&mut bytes, payment);
        }
        TimerKind::DeliveryDeadline(wamid) => {
            bytes.push(8);
            bytes.extend_from_slice(wamid.as_str().as_bytes());
        }
        TimerKind::OfferResend(wamid) => {
            bytes.push(9);
            bytes.extend_from_slice(wamid.as_str().as_bytes());
        }
        TimerKind::ForgetDecided(id) => {
            bytes.push(10);
            bytes.extend_from_slice(id.as_str().as_bytes());
        }
        TimerKind::TemplateDue(template) => {
            bytes.push(11);
            push_template(&mut bytes, template);
        }
        TimerKind::AccountDue(account) => {
            bytes.push(12);
            bytes.extend_from_slice(account.as_str().as_bytes());
        }
        TimerKind::SilenceDue(number) => {
            bytes.push(13);
            bytes.extend_from_slice(number.as_str().as_bytes());
        }
    }
    bytes
}

/// The timer of a key that [`timer`] made.
pub(crate) fn parse_timer(bytes: &[u8]) -> Result<TimerKey, Damage> {
    let (due, rest) = bytes
        .strip_prefix(&[Family::Timer as u8])
        .and_then(<[u8]>::split_first_chunk::<8>)
        .ok_or_else(|| Damage("key of a timer is too short".to_owned()))?;
    let (kind, rest) =
        rest.split_first().ok_or_else(|| Damage("key of a timer is too short".to_owned()))?;
    let kind = match kind {
        1 => TimerKind::ExpireMessage(Wamid::new(text(rest)?)),
        2 => TimerKind::ExpireConversation(parse_conversation(rest)?),
        3 => TimerKind::ExpireNatural(NaturalKey::new(text(rest)?.to_owned())),
        4 => TimerKind::CloseWindow(parse_conversation(rest)?),
        5 => TimerKind::EndFreeEntry(parse_conversation(rest)?),
        6 => TimerKind::ExpireCall(CallId::new(text(rest)?)),
        7 => {
            let (wamid, rest) = split_escaped(rest)?;
            let (reference_id, transaction_id) = split_escaped(rest)?;
            TimerKind::ExpirePayment(PaymentKey {
                wamid: Wamid::new(text(&wamid)?),
                reference_id: text(&reference_id)?.to_owned(),
                transaction_id: text(transaction_id)?.to_owned(),
            })
        }
        8 => TimerKind::DeliveryDeadline(Wamid::new(text(rest)?)),
        9 => TimerKind::OfferResend(Wamid::new(text(rest)?)),
        10 => TimerKind::ForgetDecided(ActionId::from_text(text(rest)?.to_owned())),
        11 => TimerKind::TemplateDue(parse_template(rest)?),
        12 => TimerKind::AccountDue(WabaId::new(text(rest)?)),
        13 => TimerKind::SilenceDue(PhoneNumberId::new(text(rest)?)),
        other => return Err(Damage(format!("no kind of timer has number {other}"))),
    };
    Ok(TimerKey { due: parse_rising_time(*due), kind })
}

/// The prefix of all index rows of a conversation.
pub(crate) fn messages_of(conversation: &ConversationKey) -> Vec<u8> {
    let mut bytes = Family::MessageOfConversation.key();
    push_escaped(&mut bytes, conversation.phone_number_id.as_str());
    push_escaped(&mut bytes, conversation.party.as_str());
    bytes
}

/// The prefix of all index rows of a number.
pub(crate) fn messages_of_number(number: &PhoneNumberId) -> Vec<u8> {
    let mut bytes = Family::MessageOfNumber.key();
    push_escaped(&mut bytes, number.as_str());
    bytes
}

/// The prefix of all index rows of a label.
pub(crate) fn messages_of_label(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = Family::MessageOfLabel.key();
    push_escaped(&mut bytes, name);
    push_escaped(&mut bytes, value);
    bytes
}

/// The prefix of all index rows of a trace id.
pub(crate) fn messages_of_trace(trace: &str) -> Vec<u8> {
    let mut bytes = Family::MessageOfTrace.key();
    push_escaped(&mut bytes, trace);
    bytes
}

/// Sorts by wamid.
pub(crate) fn message_of_trace(trace: &str, wamid: &Wamid) -> Vec<u8> {
    let mut bytes = messages_of_trace(trace);
    bytes.extend_from_slice(wamid.as_str().as_bytes());
    bytes
}

/// The wamid of an index key, given without the prefix of its trace id.
pub(crate) fn parse_message_of_trace(rest: &[u8]) -> Result<Wamid, Damage> {
    Ok(Wamid::new(text(rest)?))
}

/// A line behind the prefix of a list. Sorts the newest list time first, ties by falling wamid.
pub(crate) fn listed(prefix: Vec<u8>, item: &MessageListItem) -> Vec<u8> {
    let mut bytes = prefix;
    let falling = bytes.len();
    bytes.extend_from_slice(&rising_time(item.list_time));
    // The end mark makes the wamids free of prefixes, without which inverting would not turn the
    // order around.
    push_escaped(&mut bytes, item.wamid.as_str());
    for byte in bytes.iter_mut().skip(falling) {
        *byte = !*byte;
    }
    bytes
}

/// The line of an index key that [`listed`] made, given without the prefix of its list.
pub(crate) fn parse_listed(rest: &[u8]) -> Result<MessageListItem, Damage> {
    let rising: Vec<u8> = rest.iter().map(|byte| !byte).collect();
    let (list_time, wamid) = rising
        .split_first_chunk::<8>()
        .ok_or_else(|| Damage("key of the message index is too short".to_owned()))?;
    let (wamid, behind) = split_escaped(wamid)?;
    if !behind.is_empty() {
        return Err(Damage("key of the message index is too long".to_owned()));
    }
    let list_time = parse_rising_time(*list_time);
    Ok(MessageListItem { list_time, wamid: Wamid::new(text(&wamid)?) })
}

/// The prefix of all templates listed under a word, or of those of one account.
pub(crate) fn templates_listed(by: ListedBy, word: &str, waba_id: Option<&WabaId>) -> Vec<u8> {
    let mut bytes = listed_under(Family::TemplateListed, by, word);
    if let Some(waba_id) = waba_id {
        push_escaped(&mut bytes, waba_id.as_str());
    }
    bytes
}

/// The prefix of all accounts listed under a word.
pub(crate) fn accounts_listed(by: ListedBy, word: &str) -> Vec<u8> {
    listed_under(Family::AccountListed, by, word)
}

/// The prefix of all numbers listed under a word.
pub(crate) fn numbers_listed(by: ListedBy, word: &str) -> Vec<u8> {
    listed_under(Family::NumberListed, by, word)
}

fn listed_under(family: Family, by: ListedBy, word: &str) -> Vec<u8> {
    let mut bytes = family.key();
    bytes.push(by as u8);
    push_escaped(&mut bytes, word);
    bytes
}

/// A line of such a list. Sorts as [`TemplateKey`].
pub(crate) fn template_listed(by: ListedBy, word: &str, key: &TemplateKey) -> Vec<u8> {
    let mut bytes = templates_listed(by, word, None);
    push_template(&mut bytes, key);
    bytes
}

/// Likewise of accounts.
pub(crate) fn account_listed(by: ListedBy, word: &str, key: &WabaId) -> Vec<u8> {
    let mut bytes = accounts_listed(by, word);
    bytes.extend_from_slice(key.as_str().as_bytes());
    bytes
}

/// Likewise of numbers.
pub(crate) fn number_listed(by: ListedBy, word: &str, key: &PhoneNumberId) -> Vec<u8> {
    let mut bytes = numbers_listed(by, word);
    bytes.extend_from_slice(key.as_str().as_bytes());
    bytes
}

/// The message of a key, given without its family.
pub(crate) fn parse_message(rest: &[u8]) -> Result<Wamid, Damage> {
    Ok(Wamid::new(text(rest)?))
}

/// Likewise the user.
pub(crate) fn parse_user(rest: &[u8]) -> Result<UserKey, Damage> {
    let (waba_id, party) = split_escaped(rest)?;
    Ok(UserKey { waba_id: WabaId::new(text(&waba_id)?), party: PartyId::new(text(party)?) })
}

/// The template of a line, given without the prefix of its list.
pub(crate) fn parse_template(rest: &[u8]) -> Result<TemplateKey, Damage> {
    let (waba_id, rest) = split_escaped(rest)?;
    let (template_id, language) = split_escaped(rest)?;
    Ok(TemplateKey {
        waba_id: WabaId::new(text(&waba_id)?),
        template_id: TemplateId::new(text(&template_id)?),
        language: text(language)?.to_owned(),
    })
}

/// Likewise the account.
pub(crate) fn parse_account(rest: &[u8]) -> Result<WabaId, Damage> {
    Ok(WabaId::new(text(rest)?))
}

/// Likewise the number.
pub(crate) fn parse_number(rest: &[u8]) -> Result<PhoneNumberId, Damage> {
    Ok(PhoneNumberId::new(text(rest)?))
}

/// A key of state as people write it: its parts joined by `/`, without the family.
pub(crate) fn shown(kind: RowKind, key: &[u8]) -> String {
    let rest = match (kind, parse_timer(key)) {
        (RowKind::Regime, _) => return "rules and deadlines".to_owned(),
        (RowKind::Timer, Ok(TimerKey { due, .. })) => {
            // Family, eight bytes of time, kind.
            let rest = key.get(10..).unwrap_or_default();
            let number = key.get(9).copied().unwrap_or_default();
            return format!("{due}/{}/{}", timer_word(number), parts(rest));
        }
        _ => key.get(1..).unwrap_or_default(),
    };
    parts(rest)
}

fn timer_word(number: u8) -> &'static str {
    match number {
        1 => "expire_message",
        2 => "expire_conversation",
        3 => "expire_natural_key",
        4 => "close_window",
        5 => "end_free_entry",
        6 => "expire_call",
        7 => "expire_payment",
        8 => "delivery_deadline",
        9 => "offer_resend",
        10 => "forget_decided",
        11 => "template_due",
        12 => "account_due",
        13 => "silence_due",
        _ => "timer",
    }
}

fn parts(mut rest: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Ok((part, after)) = split_escaped(rest) {
        parts.push(String::from_utf8_lossy(&part).into_owned());
        rest = after;
    }
    parts.push(String::from_utf8_lossy(rest).into_owned());
    parts.join("/")
}

/// The least key above this one.
pub(crate) fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The least key above all that begin with an escaped part's end mark, such as [`messages_of`].
pub(crate) fn after_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    if let Some(last) = prefix.last_mut() {
        // The end mark's second byte is far from overflow.
        *last = last.saturating_add(1);
    }
    prefix
}

fn single(family: Family, id: &str) -> Vec<u8> {
    let mut bytes = family.key_with_room(id.len());
    bytes.extend_from_slice(id.as_bytes());
    bytes
}

fn push_template(bytes: &mut Vec<u8>, key: &TemplateKey) {
    push_escaped(bytes, key.waba_id.as_str());
    push_escaped(bytes, key.template_id.as_str());
    bytes.extend_from_slice(key.language.as_bytes());
}

fn push_conversation(bytes: &mut Vec<u8>, key: &ConversationKey) {
    push_escaped(bytes, key.phone_number_id.as_str());
    bytes.extend_from_slice(key.party.as_str().as_bytes());
}

pub(crate) fn parse_conversation(bytes: &[u8]) -> Result<ConversationKey, Damage> {
    let (phone_number_id, party) = split_escaped(bytes)?;
    Ok(ConversationKey {
        phone_number_id: PhoneNumberId::new(text(&phone_number_id)?),
        party: PartyId::new(text(party)?),
    })
}

fn push_payment(bytes: &mut Vec<u8>, key: &PaymentKey) {
    push_escaped(bytes, key.wamid.as_str());
    push_escaped(bytes, &key.reference_id);
    bytes.extend_from_slice(key.transaction_id.as_bytes());
}

fn push_escaped(bytes: &mut Vec<u8>, part: &str) {
    for (index, piece) in part.as_bytes().split(|byte| *byte == 0).enumerate() {
        if index > 0 {
            bytes.extend_from_slice(&ZERO);
        }
        bytes.extend_from_slice(piece);
    }
    bytes.extend_from_slice(&END);
}

/// An escaped part and what follows it.
fn split_escaped(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Damage> {
    let mut part = Vec::new();
    let mut rest = bytes;
    loop {
        rest = match rest {
            [0x00, 0x01, behind @ ..] => return Ok((part, behind)),
            [0x00, 0xff, behind @ ..] => {
                part.push(0);
                behind
            }
            [0x00, ..] | [] => return Err(Damage("part of a key does not end".to_owned())),
            [byte, behind @ ..] => {
                part.push(*byte);
                behind
            }
        };
    }
}

fn text(bytes: &[u8]) -> Result<&str, Damage> {
    std::str::from_utf8(bytes).map_err(|_| Damage("id in a key is not UTF-8".to_owned()))
}

/// Bytes that sort as the time does, also below zero: the sign bit is turned.
fn rising_time(time: Timestamp) -> [u8; 8] {
    (time.as_millis() ^ i64::MIN).to_be_bytes()
}

fn parse_rising_time(bytes: [u8; 8]) -> Timestamp {
    Timestamp::from_millis(i64::from_be_bytes(bytes) ^ i64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::random::Random;

    fn awkward(random: &mut Random) -> String {
        let parts = ["", "\0", "\u{1}", "\u{7f}", "a", "b", "/", "\u{ff}", "\u{10ffff}"];
        (0..random.below(4)).map(|_| *random.pick(&parts)).collect()
    }

    fn conversation_key(random: &mut Random) -> ConversationKey {
        let (phone_number_id, party) = (awkward(random), awkward(random));
        ConversationKey {
            phone_number_id: PhoneNumberId::new(phone_number_id),
            party: PartyId::new(party),
        }
    }

    fn timer_key(random: &mut Random) -> TimerKey {
        let due = *random.pick(&[i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX]);
        let kind = match random.below(13) {
            0 => TimerKind::ExpireMessage(Wamid::new(awkward(random))),
            1 => TimerKind::ExpireConversation(conversation_key(random)),
            2 => TimerKind::CloseWindow(conversation_key(random)),
            3 => TimerKind::EndFreeEntry(conversation_key(random)),
            4 => TimerKind::ExpireCall(CallId::new(awkward(random))),
            5 => TimerKind::ExpirePayment(PaymentKey {
                wamid: Wamid::new(awkward(random)),
                reference_id: awkward(random),
                transaction_id: awkward(random),
            }),
            6 => TimerKind::DeliveryDeadline(Wamid::new(awkward(random))),
            7 => TimerKind::OfferResend(Wamid::new(awkward(random))),
            8 => TimerKind::ForgetDecided(ActionId::from_text(awkward(random))),
            9 => TimerKind::TemplateDue(TemplateKey {
                waba_id: WabaId::new(awkward(random)),
                template_id: TemplateId::new(awkward(random)),
                language: awkward(random),
            }),
            10 => TimerKind::AccountDue(WabaId::new(awkward(random))),
            11 => TimerKind::SilenceDue(PhoneNumberId::new(awkward(random))),
            _ => TimerKind::ExpireNatural(NaturalKey::new(awkward(random))),
        };
        TimerKey { due: Timestamp::from_millis(due), kind }
    }

    #[test]
    fn timers_sort_as_their_domain_type_and_read_back() {
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let (a, b) = (timer_key(&mut random), timer_key(&mut random));
            assert_eq!(timer(&a).cmp(&timer(&b)), a.cmp(&b), "{a:?} {b:?}");
            assert_eq!(parse_timer(&timer(&a)).unwrap(), a);
        }
    }

    #[test]
    fn conversations_and_templates_sort_as_their_domain_types() {
        let mut random = Random::new(2);
        for _ in 0..20_000 {
            let (a, b) = (conversation_key(&mut random), conversation_key(&mut random));
            assert_eq!(conversation(&a).cmp(&conversation(&b)), a.cmp(&b), "{a:?} {b:?}");
            let mut key = || TemplateKey {
                waba_id: WabaId::new(awkward(&mut random)),
                template_id: awkward(&mut random).as_str().into(),
                language: awkward(&mut random),
            };
            let (a, b) = (key(), key());
            assert_eq!(template(&a).cmp(&template(&b)), a.cmp(&b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn totals_sort_as_their_domain_type_stay_with_their_account_and_read_back() {
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let mut key = || TotalKey {
                waba_id: WabaId::new(awkward(&mut random)),
                month: awkward(&mut random),
                category: awkward(&mut random),
                kind: awkward(&mut random),
            };
            let (a, b) = (key(), key());
            assert_eq!(total(&a).cmp(&total(&b)), a.cmp(&b), "{a:?} {b:?}");
            assert_eq!(parse_total(&total(&a)).unwrap(), a);
            let of_month = totals_of(&b.waba_id, Some(&b.month));
            let same = (&a.waba_id, &a.month) == (&b.waba_id, &b.month);
            assert_eq!(total(&a).starts_with(&of_month), same, "{a:?} {b:?}");
            let of_account = totals_of(&b.waba_id, None);
            assert_eq!(total(&a).starts_with(&of_account), a.waba_id == b.waba_id);
        }
        assert!(parse_total(b"").is_err() && parse_total(&[Family::ChargeTotal as u8]).is_err());
    }

    #[test]
    fn index_rows_stay_with_their_conversation_and_fall() {
        let mut random = Random::new(3);
        for _ in 0..20_000 {
            let (a, b) = (conversation_key(&mut random), conversation_key(&mut random));
            let mut item = || MessageListItem {
                list_time: Timestamp::from_millis(*random.pick(&[-1, 0, 1, 1 << 40])),
                wamid: Wamid::new(awkward(&mut random)),
            };
            let (x, y) = (item(), item());
            let row = listed(messages_of(&a), &x);
            assert_eq!(row.starts_with(&messages_of(&b)), a == b, "{a:?} {b:?}");
            assert_eq!(row < after_prefix(messages_of(&b)) && row >= messages_of(&b), a == b);
            assert_eq!(row.cmp(&listed(messages_of(&a), &y)), y.cmp(&x), "{x:?} {y:?}");
            let rest = row.strip_prefix(&messages_of(&a)[..]).unwrap();
            assert_eq!(parse_listed(rest).unwrap(), x);
            let [of_a, of_b] = [&a, &b].map(|key| messages_of_number(&key.phone_number_id));
            let row = listed(of_a.clone(), &x);
            let same = a.phone_number_id == b.phone_number_id;
            assert_eq!(row.starts_with(&of_b), same, "{a:?} {b:?}");
            assert_eq!(row < after_prefix(of_b.clone()) && row >= of_b, same, "{a:?} {b:?}");
            assert_eq!(row.cmp(&listed(of_a, &y)), y.cmp(&x), "{x:?} {y:?}");
        }
    }

    #[test]
    fn lines_of_templates_stay_under_their_word_and_sort_as_templates() {
        let mut random = Random::new(6);
        for _ in 0..20_000 {
            let mut key = || TemplateKey {
                waba_id: WabaId::new(awkward(&mut random)),
                template_id: awkward(&mut random).as_str().into(),
                language: awkward(&mut random),
            };
            let (a, b) = (key(), key());
            let by = *random.pick(&[ListedBy::State, ListedBy::Quality]);
            let (word, other) = (awkward(&mut random), awkward(&mut random));
            let line = |key: &TemplateKey| template_listed(by, &word, key);
            assert_eq!(line(&a).cmp(&line(&b)), a.cmp(&b), "{a:?} {b:?}");
            let under = templates_listed(ListedBy::State, &other, None);
            let same = (by, &word) == (ListedBy::State, &other);
            assert_eq!(line(&a).starts_with(&under), same, "{word:?} {other:?}");
            let of_account = templates_listed(by, &word, Some(&b.waba_id));
            assert_eq!(line(&a).starts_with(&of_account), a.waba_id == b.waba_id);
            let rest = line(&a).split_off(templates_listed(by, &word, None).len());
            assert_eq!(parse_template(&rest).unwrap(), a);
        }
    }

    #[test]
    fn damaged_keys_are_refused() {
        let mut random = Random::new(4);
        for _ in 0..20_000 {
            let mut bytes = timer(&timer_key(&mut random));
            bytes.truncate(random.below(bytes.len() + 1));
            if !bytes.is_empty() {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
            // Whether they read is chance; that nothing panics is the point.
            let _ = (parse_timer(&bytes), parse_listed(&bytes));
        }
        assert!(parse_timer(b"").is_err());
        assert!(parse_listed(b"").is_err());
    }
}
