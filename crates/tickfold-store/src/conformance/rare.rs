//! Random values of what most histories do not have: content, annotations, users, calls, groups,
//! payments.

use std::collections::BTreeMap;

use tickfold_core::ids::{PartyId, PhoneNumberId, WabaId, Wamid};
use tickfold_core::state::{
    Alias, Amount, Annotations, BillingConversation, Call, CallFacts, CallPermission, Content,
    Group, GroupFacts, JoinRequest, Media, Membership, Payment, PaymentFacts, Preference, Profile,
    Reaction, Referral, Refund, Relation, Setting, User, UserFacts,
};
use tickfold_core::time::Timestamp;

use super::random::Random;

/// Labels that lists are made of: name and value.
pub const LABELS: [(&str, &str); 3] = [("campaign", "a"), ("campaign", "a\0b"), ("intent", "a")];

impl Random {
    /// A callback data, now and then with labels.
    pub(super) fn callback_data(&mut self) -> String {
        let (name, value) = *self.pick(&LABELS);
        let pairs = format!("{name}={value};template=t");
        let json = format!("{{\"{name}\":\"a\",\"language\":\"de\"}}");
        let text = self.text();
        self.pick(&[pairs, json, text]).clone()
    }

    fn party(&mut self) -> PartyId {
        PartyId::new(self.id())
    }

    fn times(&mut self) -> BTreeMap<String, Option<Timestamp>> {
        (0..self.below(3)).map(|_| (self.text(), self.maybe(Self::time))).collect()
    }

    fn media(&mut self) -> Media {
        Media {
            id: self.text(),
            mime_type: self.maybe(Self::text),
            sha256: self.maybe(Self::text),
            filename: self.maybe(Self::text),
            voice: self.maybe(|random| random.one_in(2)),
            animated: self.maybe(|random| random.one_in(2)),
        }
    }

    pub(super) fn content(&mut self) -> Content {
        Content {
            message_type: self.maybe(Self::text),
            reply_to: self.maybe(Self::text),
            target: self.maybe(Self::wamid),
            sender: self.maybe(Self::party),
            forwarded: self.one_in(2),
            media: self.maybe(Self::media),
            errors: self.failures(),
        }
    }

    pub(super) fn billing(&mut self) -> BillingConversation {
        BillingConversation {
            id: self.maybe(Self::text),
            origin: self.maybe(Self::text),
            expires: self.maybe(Self::time),
        }
    }

    pub(super) fn annotations(&mut self) -> Annotations {
        let mut wamids = || -> BTreeMap<Wamid, Option<Timestamp>> {
            (0..self.below(3)).map(|_| (self.wamid(), self.maybe(Self::time))).collect()
        };
        let (edits, revokes) = (wamids(), wamids());
        let reactions = (0..self.below(3)).map(|_| {
            let reaction = Reaction {
                time: self.maybe(Self::time),
                wamid: self.wamid(),
                emoji: self.maybe(Self::text),
            };
            (self.party(), reaction)
        });
        Annotations { edits, revokes, reactions: reactions.collect() }
    }

    pub(super) fn referral(&mut self) -> Referral {
        Referral {
            time: self.maybe(Self::time),
            source_type: self.maybe(Self::text),
            source_id: self.maybe(Self::text),
            ctwa_clid: self.maybe(Self::text),
        }
    }

    pub(super) fn call_permission(&mut self) -> CallPermission {
        CallPermission {
            time: self.maybe(Self::time),
            refused: self.one_in(2),
            expires: self.maybe(Self::time),
        }
    }

    /// A user.
    pub fn user(&mut self) -> User {
        let relations =
            [Relation::Same, Relation::Parent, Relation::Child, Relation::Became, Relation::Was];
        let preferences = (0..self.below(3)).map(|_| {
            let (time, stop) = (self.maybe(Self::time), self.one_in(2));
            (self.text(), Preference { time, stop, value: self.text() })
        });
        let preferences = preferences.collect();
        let aliases = (0..self.below(4)).map(|_| {
            let alias = Alias { party: self.party(), relation: *self.pick(&relations) };
            (alias, self.maybe(Self::time))
        });
        let aliases = aliases.collect();
        let profile = self.maybe(|random| Profile {
            day: random.time().as_millis(),
            username: random.maybe(Self::text),
            name: random.maybe(Self::text),
        });
        User { facts: UserFacts { preferences, aliases, profile }, journal: self.journal() }
    }

    /// A call.
    pub fn call(&mut self) -> Call {
        Call {
            facts: CallFacts {
                waba_id: self.maybe(|random| WabaId::new(random.id())),
                phone_number_id: self.maybe(|random| PhoneNumberId::new(random.id())),
                parties: (0..self.below(3)).map(|_| self.party()).collect(),
                direction: self.maybe(Self::text),
                events: self.times(),
                statuses: self.times(),
                errors: self.failures(),
                start: self.maybe(Self::time),
                end: self.maybe(Self::time),
                duration_s: self.maybe(Self::number64),
                callback_data: self.maybe(Self::text),
                media: (0..self.below(3)).map(|_| (self.text(), self.media())).collect(),
            },
            journal: self.journal(),
        }
    }

    /// A group.
    pub fn group(&mut self) -> Group {
        let mut facts = GroupFacts {
            waba_id: self.maybe(|random| WabaId::new(random.id())),
            events: self.times(),
            ..GroupFacts::default()
        };
        for _ in 0..self.below(3) {
            let setting = Setting { time: self.maybe(Self::time), value: self.text() };
            facts.settings.insert(self.text(), setting);
            let membership = Membership { time: self.maybe(Self::time), left: self.one_in(2) };
            facts.participants.insert(self.party(), membership);
            let request = JoinRequest {
                party: self.maybe(Self::party),
                created: self.maybe(Self::time),
                revoked: self.one_in(2),
            };
            facts.join_requests.insert(self.text(), request);
        }
        Group { facts, journal: self.journal() }
    }

    fn amount(&mut self) -> Amount {
        Amount {
            value: self.time().as_millis(),
            offset: self.maybe(|_| 100),
            currency: self.maybe(Self::text),
        }
    }

    /// A payment.
    pub fn payment(&mut self) -> Payment {
        let refunds = (0..self.below(3)).map(|_| {
            let refund = Refund {
                time: self.maybe(Self::time),
                status: self.maybe(Self::text),
                amount: self.maybe(Self::amount),
            };
            (self.text(), refund)
        });
        let refunds = refunds.collect();
        Payment {
            facts: PaymentFacts {
                waba_id: self.maybe(|random| WabaId::new(random.id())),
                phone_number_id: self.maybe(|random| PhoneNumberId::new(random.id())),
                party: self.maybe(Self::party),
                statuses: self.times(),
                amount: self.maybe(Self::amount),
                refunds,
                errors: self.failures(),
            },
            journal: self.journal(),
        }
    }
}
