//! Bodies of a given size or number of statuses, for benchmarks.

use std::sync::Arc;

use tickfold_core::state::Status;
use tickfold_core::time::Timestamp;

use crate::body::{Style, render};
use crate::fact::{Direction, Fact};
use crate::ids::Ids;
use crate::rng::Rng;
use crate::spec::Spec;

/// A source of bodies in Meta's form, each about messages that no other body names. The same seed
/// and time give the same bytes.
#[derive(Debug, Clone)]
pub struct Bodies {
    ids: Ids,
    rng: Rng,
    time: Timestamp,
}

impl Bodies {
    /// Bodies of the accounts of a seed, with one event time.
    pub fn new(seed: u64, time: Timestamp) -> Self {
        Self { ids: Ids::new(&Spec { seed, ..Spec::default() }), rng: Rng::new(seed), time }
    }

    /// One `sent` of a new message of any account, in a body of that many bytes; 512 always fit.
    pub fn sized(&mut self, bytes: usize) -> Vec<u8> {
        let message = self.ids.message(&mut self.rng, Direction::Outbound);
        let sent = |message| Fact::Message { message, status: Status::Sent, time: self.time };
        render(&message.map(sent).into_iter().collect::<Vec<_>>(), Style::META, bytes)
    }

    /// That many `sent`, each of a new message, in one body of any one account.
    pub fn batch(&mut self, statuses: usize) -> Vec<u8> {
        let number = self.rng.pick(&self.ids.numbers).cloned();
        let fact = |_| {
            let message = self.ids.message(&mut self.rng, Direction::Outbound)?;
            let mut message = Arc::unwrap_or_clone(message);
            message.number = number.clone()?;
            let message = Arc::new(message);
            Some(Fact::Message { message, status: Status::Sent, time: self.time })
        };
        render(&(0..statuses).filter_map(fact).collect::<Vec<_>>(), Style::META, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const TIME: Timestamp = Timestamp::from_millis(1_795_132_800_000);

    #[test]
    fn sized_bodies_have_their_size_and_a_message_of_their_own() {
        let mut bodies = Bodies::new(1, TIME);
        let mut wamids = BTreeSet::new();
        for bytes in [512, 4 * 1024, 3_000_000, 512] {
            let body = bodies.sized(bytes);
            assert_eq!(body.len(), bytes);
            let json: Value = serde_json::from_slice(&body).unwrap();
            let status = &json["entry"][0]["changes"][0]["value"]["statuses"][0];
            assert_eq!(status["status"], "sent");
            wamids.insert(status["id"].to_string());
        }
        assert_eq!(wamids.len(), 4);
    }

    #[test]
    fn a_batch_is_one_body_of_one_account() {
        let body = Bodies::new(1, TIME).batch(100);
        let json: Value = serde_json::from_slice(&body).unwrap();
        let statuses = &json["entry"][0]["changes"][0]["value"]["statuses"];
        let wamids: BTreeSet<_> =
            statuses.as_array().unwrap().iter().map(|one| one["id"].to_string()).collect();
        assert_eq!(wamids.len(), 100);
        assert_eq!(tickfold_core::route(&body, 8).len(), 1);
        assert_eq!(body, Bodies::new(1, TIME).batch(100));
    }
}
