//! Random values of every entity, with the awkward ones often: absent, empty, zero, extreme.

use std::sync::Arc;

use tickfold_core::action::ActionId;
use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{
    CallId, ConversationKey, GroupKey, NaturalKey, Participant, PartyId, PaymentKey, PhoneNumberId,
    TemplateId, TemplateKey, UserKey, WabaId, Wamid,
};
use tickfold_core::rules::Rules;
use tickfold_core::state::{
    Conversation, ConversationFacts, Decided, Failure, Failures, Few, HistoryEntry, Journal,
    Message, MessageFacts, Natural, Pricing, Receipt, Regime, Status, TimerKey, TimerKind,
};
use tickfold_core::time::Timestamp;

use super::random::Random;

/// Ids as hostile as ids can be: separators, zero bytes, one a prefix of another, empty.
pub const IDS: [&str; 8] = ["", "a", "a/b", "ab", "a\0", "a\0\u{1}", "\u{ff}", "wamid.HBg="];

/// Makes random values.
impl Random {
    pub(super) fn id(&mut self) -> &'static str {
        self.pick::<&str>(&IDS)
    }

    pub(super) fn text(&mut self) -> String {
        (*self.pick(&["", "x", "APPROVED", "\0", "é", "two words"])).to_owned()
    }

    /// A time, mostly near others and now and then extreme.
    pub fn time(&mut self) -> Timestamp {
        let near = i64::try_from(self.below(5)).unwrap_or(0);
        let times = [near, near, 1_795_132_800_000 + near, 0, -1, i64::MIN, i64::MAX];
        Timestamp::from_millis(*self.pick(&times))
    }

    /// A wamid.
    pub fn wamid(&mut self) -> Wamid {
        Wamid::new(self.id())
    }

    /// A conversation key.
    pub fn conversation_key(&mut self) -> ConversationKey {
        ConversationKey {
            phone_number_id: PhoneNumberId::new(*self.pick(&IDS[..3])),
            party: PartyId::new(*self.pick(&IDS[..4])),
        }
    }

    /// A template key.
    pub fn template_key(&mut self) -> TemplateKey {
        TemplateKey::new(WabaId::new(self.id()), TemplateId::new(self.id()), self.id())
    }

    /// A user.
    pub fn user_key(&mut self) -> UserKey {
        let waba_id = WabaId::new(*self.pick(&IDS[..3]));
        UserKey { waba_id, party: PartyId::new(*self.pick(&IDS[..4])) }
    }

    /// A call.
    pub fn call_id(&mut self) -> CallId {
        CallId::new(self.id())
    }

    /// A group.
    pub fn group_key(&mut self) -> GroupKey {
        let phone_number_id = PhoneNumberId::new(*self.pick(&IDS[..3]));
        GroupKey { phone_number_id, group: PartyId::new(*self.pick(&IDS[..4])) }
    }

    /// A payment.
    pub fn payment_key(&mut self) -> PaymentKey {
        PaymentKey {
            wamid: Wamid::new(*self.pick(&IDS[..3])),
            reference_id: (*self.pick(&IDS[..3])).to_owned(),
            transaction_id: (*self.pick(&IDS[..4])).to_owned(),
        }
    }

    /// A natural key.
    pub fn natural_key(&mut self) -> NaturalKey {
        NaturalKey::new(self.id().to_owned())
    }

    /// An id of an action.
    pub fn action_id(&mut self) -> ActionId {
        ActionId::from_text(self.id().to_owned())
    }

    /// Where charges are counted.
    pub fn total_key(&mut self) -> TotalKey {
        let waba_id = WabaId::new(*self.pick(&IDS[..3]));
        let mut word = || (*self.pick(&IDS[..4])).to_owned();
        TotalKey { waba_id, month: word(), category: word(), kind: word() }
    }

    /// A timer.
    pub fn timer_key(&mut self) -> TimerKey {
        let kind = match self.below(13) {
            0 => TimerKind::ExpireMessage(self.wamid()),
            1 => TimerKind::ExpireConversation(self.conversation_key()),
            2 => TimerKind::CloseWindow(self.conversation_key()),
            3 => TimerKind::EndFreeEntry(self.conversation_key()),
            4 => TimerKind::ExpireCall(self.call_id()),
            5 => TimerKind::ExpirePayment(self.payment_key()),
            6 => TimerKind::DeliveryDeadline(self.wamid()),
            7 => TimerKind::OfferResend(self.wamid()),
            8 => TimerKind::ForgetDecided(self.action_id()),
            9 => TimerKind::TemplateDue(self.template_key()),
            10 => TimerKind::AccountDue(WabaId::new(self.id())),
            11 => TimerKind::SilenceDue(PhoneNumberId::new(self.id())),
            _ => TimerKind::ExpireNatural(self.natural_key()),
        };
        TimerKey { due: self.time(), kind }
    }

    pub(super) fn journal(&mut self) -> Journal {
        Journal { revision: self.number64(), created: self.time(), changed: self.time() }
    }

    fn status(&mut self) -> Status {
        let other = Status::Other(self.text());
        let known = [
            Status::Pending,
            Status::Sent,
            Status::Delivered,
            Status::Read,
            Status::Played,
            Status::Failed,
            Status::Received,
            other,
        ];
        self.pick(&known).clone()
    }

    fn receipt(&mut self) -> Receipt {
        let mut receipt = Receipt::default();
        for _ in 0..self.below(4) {
            receipt.statuses.insert(self.status(), self.maybe(Self::time));
        }
        receipt.failures = self.failures();
        receipt.pricing = self.maybe(|random| Pricing {
            evidence: random.byte(),
            billable: random.maybe(|random| random.one_in(2)),
            model: random.maybe(Self::text),
            kind: random.maybe(Self::text),
            category: random.maybe(Self::text),
        });
        receipt.pricing_disputed = self.one_in(4);
        receipt
    }

    pub(super) fn failures(&mut self) -> Failures {
        let mut failures = Failures::new();
        for code in [-1, 0, 131_026, i64::MAX] {
            let failure = self.maybe(|random| Failure {
                time: random.maybe(Self::time),
                title: random.maybe(Self::text),
                message: random.maybe(Self::text),
                details: random.maybe(Self::text),
            });
            failures.extend(failure.map(|failure| (code, failure)));
        }
        failures
    }

    fn history(&mut self) -> HistoryEntry {
        HistoryEntry {
            to: self.status(),
            from: self.maybe(Self::status),
            state: self.status(),
            participant: Participant::new(self.id()),
            late: self.one_in(2),
            event_time: self.maybe(Self::time),
            log_time: self.time(),
            received_time: self.maybe(Self::time),
            error_code: self.maybe(|random| *random.pick(&[0, -1, 131_026])),
            offset: self.number64(),
            ordinal: u32::from(self.byte()),
        }
    }

    /// A message.
    pub fn message(&mut self) -> Message {
        let key = self.conversation_key();
        let mut receipts = Few::new();
        for _ in 0..self.below(3) {
            receipts.insert(Participant::new(self.id()), self.receipt());
        }
        Message {
            facts: MessageFacts {
                waba_id: self.maybe(|random| WabaId::new(random.id())),
                phone_number_id: self.maybe(|_| key.phone_number_id),
                parties: (0..self.below(3)).map(|_| PartyId::new(self.id())).collect(),
                group: self.one_in(2),
                standby: self.one_in(4),
                inbound: self.maybe(|random| Box::new(random.content())),
                echo: self.maybe(|random| Box::new(random.content())),
                receipts,
                callback_data: self.maybe(Self::callback_data),
                template_id: self.maybe(Self::text),
                billing: self.maybe(|random| Box::new(random.billing())),
                traces: (0..self.below(3)).map(|_| self.id().to_owned()).collect(),
                annotations: self.maybe(|random| Box::new(random.annotations())),
            },
            journal: self.journal(),
            list_time: self.time(),
            history: (0..self.below(3)).map(|_| self.history()).collect(),
            charged: (0..self.below(3))
                .map(|_| (Participant::new(self.id()), self.number64()))
                .collect(),
        }
    }

    /// A message that stands in the list of a conversation.
    pub fn message_in(&mut self, conversation: &ConversationKey) -> Message {
        let mut message = self.message();
        message.facts.phone_number_id = Some(conversation.phone_number_id.clone());
        message.facts.parties = [conversation.party.clone()].into();
        message
    }

    /// A conversation.
    pub fn conversation(&mut self) -> Conversation {
        Conversation {
            facts: ConversationFacts {
                waba_id: self.maybe(|random| WabaId::new(random.id())),
                first_inbound: self.maybe(Self::time),
                last_inbound: self.maybe(Self::time),
                last_outbound: self.maybe(Self::time),
                contacted: self.one_in(2),
                free_entry_expires: self.maybe(Self::time),
                referral: self.maybe(Self::referral),
                call_permission: self.maybe(Self::call_permission),
            },
            inbound_count: self.number64(),
            outbound_count: self.below(2) as u64,
            window_told_open: self.one_in(2),
            free_entry_told_open: self.one_in(2),
            journal: self.journal(),
        }
    }

    /// What is kept of an event.
    pub fn natural(&mut self) -> Natural {
        Natural { offset: self.number64(), changed: self.time() }
    }

    /// What a partition goes by: one of three documents.
    pub fn regime(&mut self) -> Regime {
        let built_in = Rules::built_in();
        let version = self.below(3);
        let rules = match version {
            0 => built_in,
            version => {
                let text = built_in.pretty().replacen(
                    "\"version\": 1",
                    &format!("\"version\": {}", version + 1),
                    1,
                );
                Rules::parse(text.as_bytes()).map_or(built_in, Arc::new)
            }
        };
        Regime { rules, deadlines_wait_until: self.maybe(Self::time) }
    }

    /// What is remembered of an action.
    pub fn decided(&mut self) -> Decided {
        Decided { offset: self.number64(), decided: self.time(), expired: self.one_in(2) }
    }

    /// A total of charges.
    pub fn total(&mut self) -> Total {
        Total { charges: self.number64(), billable: self.number64() }
    }
}
