//! What two nodes know of one thing, merged, beside what a process tells that has both partitions: in each
//! field the same.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tickfold_core::action::asked_for;
use tickfold_core::ids::{ConversationKey, Participant, PartyId, PhoneNumberId, WabaId, Wamid};
use tickfold_core::state::{
    Annotations, BillingConversation, CallPermission, Content, Conversation, ConversationFacts,
    Decided, Failure, Few, HistoryEntry, Journal, Media, Message, MessageFacts, Pricing, Reaction,
    Receipt, Referral, Status,
};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;

use super::{conversations, messages};
use crate::convert;
use crate::query::made::Made;
use crate::query::{View, joined};

/// Each seed makes one state of each partition.
const SEEDS: u64 = 400;

/// A sequence of numbers by a seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.yes() { Some(make(self)) } else { None }
    }

    fn one(&mut self, of: [&'static str; 3]) -> &'static str {
        of[usize::try_from(self.below(3)).unwrap()]
    }

    fn text(&mut self) -> Option<String> {
        self.maybe(|rng| rng.one(["a", "b", "c"]).to_owned())
    }

    fn time(&mut self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(1 + self.below(9)).unwrap() * 1_000)
    }

    fn wamids(&mut self) -> Vec<(Wamid, Option<Timestamp>)> {
        (0..self.below(3))
            .map(|_| (Wamid::from(self.one(["x", "y", "z"])), self.maybe(Self::time)))
            .collect()
    }
}

fn content(rng: &mut Rng) -> Box<Content> {
    let media = |rng: &mut Rng| Media {
        id: rng.text().unwrap_or_default(),
        mime_type: rng.text(),
        sha256: rng.text(),
        filename: rng.text(),
        voice: rng.maybe(Rng::yes),
        animated: rng.maybe(Rng::yes),
    };
    Box::new(Content {
        message_type: rng.text(),
        reply_to: rng.text(),
        target: rng.text().map(|text| Wamid::from(&*text)),
        sender: rng.text().map(|text| PartyId::from(&*text)),
        forwarded: rng.yes(),
        media: rng.maybe(media),
        errors: failures(rng),
    })
}

fn failures(rng: &mut Rng) -> BTreeMap<i64, Failure> {
    let failure = |rng: &mut Rng| Failure {
        time: rng.maybe(Rng::time),
        title: rng.text(),
        message: rng.text(),
        details: rng.text(),
    };
    (0..rng.below(3)).map(|_| (i64::try_from(rng.below(3)).unwrap(), failure(rng))).collect()
}

fn receipt(rng: &mut Rng) -> Receipt {
    let mut receipt = Receipt::default();
    // Whatever is known has a status, and one of them a time.
    receipt.statuses.insert(Status::Pending, Some(rng.time()));
    for status in [
        Status::Sent,
        Status::Delivered,
        Status::Read,
        Status::Played,
        Status::Failed,
        Status::Received,
        Status::Other("deleted".to_owned()),
        Status::Other("echo".to_owned()),
    ] {
        if rng.below(4) == 0 {
            receipt.statuses.insert(status, rng.maybe(Rng::time));
        }
    }
    receipt.failures = failures(rng);
    let is_delivery = receipt.statuses.keys().any(Status::is_delivery);
    receipt.pricing = rng.maybe(|rng| Pricing {
        evidence: if is_delivery { 2 } else { 1 },
        billable: rng.maybe(Rng::yes),
        model: rng.text(),
        kind: rng.text(),
        category: rng.text(),
    });
    receipt.pricing_disputed = rng.yes();
    receipt
}

/// A message as a partition has it. The later partition changed it later.
fn message(rng: &mut Rng, partition: u32) -> Message {
    let mut receipts = Few::new();
    receipts.insert(Participant::whole(), receipt(rng));
    for participant in ["p", "q"] {
        if rng.below(4) == 0 {
            receipts.insert(Participant::new(participant), receipt(rng));
        }
    }
    let mut charged = Few::new();
    for (participant, receipt) in &receipts {
        if receipt.pricing.as_ref().is_some_and(Pricing::is_of_delivery) {
            charged.insert(participant.clone(), rng.below(9));
        }
    }
    let changed = Timestamp::from_millis(i64::from(partition) * 100_000 + 50_000);
    let entry = |rng: &mut Rng, ordinal| HistoryEntry {
        to: Status::Failed,
        from: None,
        state: Status::Failed,
        participant: Participant::whole(),
        late: rng.yes(),
        event_time: rng.maybe(Rng::time),
        log_time: changed,
        received_time: rng.maybe(Rng::time),
        error_code: rng.maybe(|_| 131_026),
        offset: u64::from(partition) + 3,
        ordinal,
    };
    let annotations = |rng: &mut Rng| {
        let reaction = |rng: &mut Rng| Reaction {
            time: rng.maybe(Rng::time),
            wamid: Wamid::from("r"),
            emoji: rng.text(),
        };
        let users = ["49", "50"].map(PartyId::from);
        Box::new(Annotations {
            edits: rng.wamids().into_iter().collect(),
            revokes: rng.wamids().into_iter().collect(),
            reactions: users.into_iter().map(|user| (user, reaction(rng))).collect(),
        })
    };
    let texts = |rng: &mut Rng| (0..rng.below(3)).filter_map(|_| rng.text()).collect();
    let labelled = |rng: &mut Rng| {
        let intent = rng.below(3);
        format!("intent={intent};campaign=c;template=t{intent};language=de")
    };
    Message {
        facts: MessageFacts {
            waba_id: rng.text().map(|text| WabaId::from(&*text)),
            phone_number_id: rng.text().map(|text| PhoneNumberId::from(&*text)),
            parties: BTreeSet::from([PartyId::from(if rng.yes() { "49170" } else { "DE.7" })]),
            group: rng.yes(),
            standby: rng.yes(),
            inbound: rng.maybe(content),
            echo: rng.maybe(content),
            receipts,
            callback_data: rng.maybe(labelled),
            template_id: rng.text(),
            billing: rng.maybe(|rng| {
                let (id, origin, expires) = (rng.text(), rng.text(), rng.maybe(Rng::time));
                Box::new(BillingConversation { id, origin, expires })
            }),
            traces: texts(rng),
            annotations: rng.maybe(annotations),
        },
        journal: Journal { revision: rng.below(9), created: rng.time(), changed },
        list_time: rng.time(),
        history: (0..2).map(|ordinal| entry(rng, ordinal)).collect(),
        charged,
    }
}

fn conversation(rng: &mut Rng) -> Conversation {
    let referral = |rng: &mut Rng| Referral {
        time: rng.maybe(Rng::time),
        source_type: rng.text(),
        source_id: rng.text(),
        ctwa_clid: rng.text(),
    };
    let permission = |rng: &mut Rng| CallPermission {
        time: rng.maybe(Rng::time),
        refused: rng.yes(),
        expires: rng.maybe(Rng::time),
    };
    Conversation {
        facts: ConversationFacts {
            waba_id: rng.text().map(|text| WabaId::from(&*text)),
            contacted: rng.yes(),
            first_inbound: rng.maybe(Rng::time),
            last_inbound: rng.maybe(Rng::time),
            last_outbound: rng.maybe(Rng::time),
            free_entry_expires: rng.maybe(Rng::time),
            referral: rng.maybe(referral),
            call_permission: rng.maybe(permission),
        },
        inbound_count: rng.below(5),
        outbound_count: rng.below(5),
        window_told_open: false,
        free_entry_told_open: false,
        journal: Journal { revision: 1 + rng.below(9), created: rng.time(), changed: rng.time() },
    }
}

/// Fields that were never there: a field that is added wants a state that has it.
#[derive(Default)]
struct Unseen(Option<(MessageDescriptor, BTreeSet<String>)>);

impl Unseen {
    fn see(&mut self, name: &str, message: &impl prost::Message) {
        let (descriptor, unseen) = self.0.get_or_insert_with(|| {
            let pool = DescriptorPool::decode(tickfold_proto::FILE_DESCRIPTOR_SET).unwrap();
            let descriptor = pool.get_message_by_name(name).unwrap();
            let unseen = descriptor.fields().map(|field| field.name().to_owned()).collect();
            (descriptor, unseen)
        });
        let bytes = message.encode_to_vec();
        let message = DynamicMessage::decode(descriptor.clone(), &bytes[..]).unwrap();
        unseen.retain(|name| !message.has_field_by_name(name));
    }
}

#[test]
fn a_message_of_two_nodes_is_in_each_field_as_one_process_tells_it() {
    let wamid = Wamid::from("w");
    let mut unseen = Unseen::default();
    for seed in 0..SEEDS {
        let (mut rng, mut made) = (Rng(seed), Made::new(2));
        for partition in 0..2 {
            let message = message(&mut rng, partition);
            let changed = message.journal.changed;
            made.write(partition, 9, changed, |overlay| {
                for asked in asked_for(&wamid, &message) {
                    let decided = rng.maybe(|rng| Decided {
                        offset: rng.below(9),
                        decided: rng.time(),
                        expired: rng.yes(),
                    });
                    *overlay.decided.entry(&asked.id, |_| Ok(None)).unwrap() = decided;
                }
                *overlay.messages.entry(&wamid, |_| Ok(None)).unwrap() = Some(message);
            });
        }
        let told = |partitions: &[u32], view| {
            let found = joined::message(&made.snapshots(partitions), &wamid).unwrap().unwrap();
            convert::message(&found, view)
        };
        for view in [View::Basic, View::Full, View::History] {
            let [mut one, a, b] = [told(&[0, 1], view), told(&[0], view), told(&[1], view)];
            let mut merged = messages(a.clone(), b.clone());
            assert_eq!(merged, messages(b, a), "seed {seed}: in either order");
            if view == View::Basic {
                // Who they are is hidden, and so who is whom.
                for message in [&mut one, &mut merged] {
                    message.participants.clear();
                    message.edits.clear();
                    message.revokes.clear();
                    message.reactions.clear();
                }
            }
            assert_eq!(merged, one, "seed {seed} in {view:?}");
            unseen.see("tickfold.query.v1.Message", &merged);
        }
    }
    assert_eq!(unseen.0.unwrap().1, BTreeSet::new());
}

#[test]
fn a_conversation_of_two_nodes_is_in_each_field_as_one_process_tells_it() {
    let of = |party: &str| ConversationKey {
        phone_number_id: PhoneNumberId::from("1"),
        party: PartyId::from(party),
    };
    let log_time = Timestamp::from_millis(5_000);
    let mut unseen = Unseen::default();
    for seed in 0..SEEDS {
        let (mut rng, mut made) = (Rng(seed), Made::new(2));
        // Each partition knows another second identifier.
        let known = [["a", "b"], ["a", "c"]];
        for (partition, parties) in (0..).zip(known) {
            made.write(partition, 9, log_time, |overlay| {
                for party in parties {
                    let entry = overlay.conversations.entry(&of(party), |_| Ok(None));
                    *entry.unwrap() = Some(conversation(&mut rng));
                }
            });
        }
        let told = |partitions: &[u32]| {
            let parties = partitions.iter().flat_map(|partition| known[*partition as usize]);
            let parties = parties.map(PartyId::from).collect();
            let snapshots = made.snapshots(partitions);
            let found = joined::conversation(&snapshots, &of("a"), parties).unwrap().unwrap();
            convert::conversation(&found, true)
        };
        let [one, a, b] = [told(&[0, 1]), told(&[0]), told(&[1])];
        let merged = conversations(a, b);
        // Which of them changed last no reply tells.
        let merged = pb::Conversation { revision: one.revision, ..merged };
        assert_eq!(merged, one, "seed {seed}");
        unseen.see("tickfold.query.v1.Conversation", &merged);
    }
    assert_eq!(unseen.0.unwrap().1, BTreeSet::new());
}
