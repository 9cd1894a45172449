//! What followed from a message: the charges that were told, and the actions and alerts that were
//! decided. Both are found from the message's own state, without an index.

use std::collections::BTreeMap;

use tickfold_core::action::{ActionId, ActionKind, Asked, Decision, asked_for};
use tickfold_core::charge::Charge;
use tickfold_core::fold::charge_of_message;
use tickfold_core::ids::{Participant, Wamid};
use tickfold_core::state::{Decided, Message};
use tickfold_store::Snapshot;

use super::joined::JoinedMessage;
use crate::reasons::Failure;

/// A charge that was told.
#[derive(Debug, Clone)]
pub(crate) struct Charged {
    pub(crate) charge: Charge,
    pub(crate) sequence: u64,
}

/// An action or alert that a message asked for, and what is remembered of it.
#[derive(Debug, Clone)]
pub(crate) struct DecidedFor {
    pub(crate) what: Decision,
    pub(crate) id: ActionId,
    pub(crate) participant: Participant,
    pub(crate) partition: u32,
    pub(crate) decided: Decided,
}

/// The charges of a message that were told, by participant.
pub(super) fn charges(message: &Message) -> BTreeMap<Participant, Charged> {
    let told = message.charged.iter().filter_map(|(participant, sequence)| {
        let charge = charge_of_message(message, participant)?;
        Some((participant.clone(), Charged { charge, sequence: *sequence }))
    });
    told.collect()
}

/// What was decided for a message.
pub(super) fn decisions(
    snapshot: &dyn Snapshot,
    partition: u32,
    wamid: &Wamid,
    message: &Message,
) -> Result<Vec<DecidedFor>, Failure> {
    let asked = asked_for(wamid, message);
    let ids: Vec<_> = asked.iter().map(|asked| asked.id.clone()).collect();
    let remembered = asked.into_iter().zip(snapshot.decided_each(&ids)?);
    let decisions = remembered.filter_map(|(Asked { what, id, participant }, decided)| {
        Some(DecidedFor { what, id, participant, partition, decided: decided? })
    });
    Ok(decisions.collect())
}

impl JoinedMessage {
    /// A fallback that this message itself took back, when it was delivered after all.
    pub(crate) fn is_superseded(&self, one: &DecidedFor) -> bool {
        one.what == Decision::Action(ActionKind::SmsFallback)
            && !one.decided.expired
            && self.decisions.iter().any(|other| {
                other.what == Decision::Action(ActionKind::FallbackSuperseded)
                    && (&other.participant, other.partition) == (&one.participant, one.partition)
            })
    }
}
