//! Which records of raw a replay is of: those that name an account, a number or a message.
//!
//! A record is taken whole or not at all. Control records are always taken, but redrives, which carry
//! a webhook.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use tickfold_core::fold::Partition;
use tickfold_core::ids::{PhoneNumberId, WabaId, Wamid};
use tickfold_core::mention::{Naming, Needle, mentions};
use tickfold_core::raw::RawRecord;
use tickfold_core::route::{Content, Placement, Slot, visit_slots};

/// Names to look for. Of one kind any does, of several kinds each must; none takes everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Accounts.
    pub waba_ids: BTreeSet<WabaId>,
    /// Business phone numbers.
    pub phone_number_ids: BTreeSet<PhoneNumberId>,
    /// Messages.
    pub wamids: BTreeSet<Wamid>,
}

impl Selection {
    /// True if it takes everything.
    pub fn is_all(&self) -> bool {
        self.waba_ids.is_empty() && self.phone_number_ids.is_empty() && self.wamids.is_empty()
    }

    /// Whether a record is taken by a partition: an item that names what is looked for, and that is
    /// folded there, is enough.
    pub fn takes(&self, partition: Partition, record: &RawRecord<'_>) -> bool {
        if self.is_all() {
            return true;
        }
        let Some(webhook) = record.webhook(partition.id) else { return true };
        let body = webhook.body;
        let has = |what: &dyn Fn(&Slot<'_>) -> bool| has_slot(body, partition, what);
        let account =
            |slot: &Slot<'_>| slot.waba_id.as_ref().is_some_and(|id| self.waba_ids.contains(id));
        let number = |slot: &Slot<'_>| self.names_number(slot);
        let message = |wamid: &Wamid| {
            let named = || mentions(body, webhook.appended, partition, wamid);
            Needle::new(wamid).may_be_in(body)
                && named().iter().any(|mention| mention.naming != Naming::Elsewhere)
        };
        (self.waba_ids.is_empty() || has(&account))
            && (self.phone_number_ids.is_empty() || has(&number))
            && (self.wamids.is_empty() || self.wamids.iter().any(message))
    }

    /// By the number that a change is about, as `metadata` says, or the value itself.
    fn names_number(&self, slot: &Slot<'_>) -> bool {
        let Content::Change { value, .. } = &slot.content else { return false };
        let Some(value) = value.object() else { return false };
        let metadata = value.raw_member("metadata").and_then(|metadata| metadata.object());
        let named =
            [metadata.and_then(|of| of.text("phone_number_id")), value.text("phone_number_id")];
        named
            .into_iter()
            .flatten()
            .any(|id| self.phone_number_ids.contains(&PhoneNumberId::new(id)))
    }
}

fn has_slot(body: &[u8], partition: Partition, what: &dyn Fn(&Slot<'_>) -> bool) -> bool {
    let placement = Placement::new(body, partition.count);
    let mut found = false;
    let _ = visit_slots(body, &mut |slot| {
        found = placement.partition(slot.waba_id.as_ref()) == partition.id && what(&slot);
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

#[cfg(test)]
mod tests {
    use tickfold_core::raw::{WebhookHeaders, tick_headers};
    use tickfold_core::time::Timestamp;

    use super::*;

    const ONE: Partition = Partition { id: 0, count: 1 };

    fn body(waba: &str, number: &str, wamid: &str) -> String {
        format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{waba}","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"1","phone_number_id":"{number}"}},"statuses":[{{"id":"{wamid}","status":"sent","timestamp":"1795132800","recipient_id":"447700900123"}}]}}}}]}}]}}"#
        )
    }

    fn takes(selection: &Selection, headers: Vec<(&'static str, String)>, body: &str) -> bool {
        let record = RawRecord {
            offset: 4,
            appended: Timestamp::from_millis(1_795_132_800_000),
            headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
            value: Some(body.as_bytes()),
        };
        selection.takes(ONE, &record)
    }

    fn webhook() -> Vec<(&'static str, String)> {
        WebhookHeaders {
            signature: String::new(),
            received_time: Timestamp::from_millis(0),
            app: "main".to_owned(),
            secret_id: "1".to_owned(),
            request_id: "r".to_owned(),
            partition_count: 1,
        }
        .encode()
    }

    #[test]
    fn a_record_is_taken_by_what_it_names() {
        let two = body("11", "22", "wamid.A");
        let check = |selection: &Selection| takes(selection, webhook(), &two);
        let waba = |id: &str| BTreeSet::from([WabaId::new(id)]);
        let number = |id: &str| BTreeSet::from([PhoneNumberId::new(id)]);
        let message = |id: &str| BTreeSet::from([Wamid::from(id)]);
        let none = Selection::default();
        assert!(check(&none));
        for (id, is_taken) in [("11", true), ("1", false), ("22", false)] {
            assert_eq!(check(&Selection { waba_ids: waba(id), ..none.clone() }), is_taken, "{id}");
        }
        for (id, is_taken) in [("22", true), ("11", false), ("1", false)] {
            let selection = Selection { phone_number_ids: number(id), ..none.clone() };
            assert_eq!(check(&selection), is_taken, "{id}");
        }
        for (id, is_taken) in [("wamid.A", true), ("wamid", false)] {
            let selection = Selection { wamids: message(id), ..none.clone() };
            assert_eq!(check(&selection), is_taken, "{id}");
        }
        let both = Selection { waba_ids: waba("11"), wamids: message("wamid.B"), ..none };
        assert!(!check(&both), "each kind must be named");
    }

    #[test]
    fn time_and_rules_are_always_taken() {
        let selection = Selection { waba_ids: [WabaId::new("11")].into(), ..Selection::default() };
        assert!(takes(&selection, tick_headers(1), ""));
    }
}
