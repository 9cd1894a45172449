//! Charges: what Meta bills for a message, as its statuses told.
//!
//! A charge is a function of the facts of one (message, participant): it exists once a status that
//! is evidence of a delivery carried a price, and it changes when better facts come. Nothing here
//! knows rates or dates: what a message cost follows from the words that Meta sent with it.

mod country;

use std::fmt;

use crate::hash::id_of;
use crate::ids::{Participant, WabaId, Wamid};
use crate::rules::normal_category;
use crate::time::Timestamp;

pub use country::country_of;

/// Names a charge for ever: the same message and participant, the same charge, whatever is learned
/// of its price. 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChargeId(String);

impl ChargeId {
    /// The id of the charge of a message, or of one participant's part of it.
    pub fn new(wamid: &Wamid, participant: &Participant) -> Self {
        Self(id_of(&["charge", wamid.as_str(), participant.as_str()]))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChargeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of one (message, participant), as far as a charge follows from it.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Account.
    pub waba_id: Option<&'a WabaId>,
    /// When it was delivered, the earliest of its evidence; log time where Meta gave no time.
    pub time: Timestamp,
    /// The price with the best evidence.
    pub price: Price<'a>,
    /// Two statuses of equal evidence named different prices.
    pub conflicting: bool,
    /// The recipient's identifiers; the first that is a phone number tells the country.
    pub recipients: &'a [&'a str],
}

/// A price as a status carried it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Price<'a> {
    /// It came with a status that is evidence of a delivery. On `sent` it is a quote, on `failed`
    /// nothing: neither is charged.
    pub delivered: bool,
    /// `pricing_model`: `NBP`, `CBP`, `PMP`.
    pub model: Option<&'a str>,
    /// `type`: `regular`, `free_customer_service` …
    pub kind: Option<&'a str>,
    /// `category`.
    pub category: Option<&'a str>,
    /// `billable`, which Meta is going to remove.
    pub billable: Option<bool>,
}

/// What is charged for one (message, participant).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Where it is counted.
    pub total: TotalKey,
    /// `pricing_model`, as Meta wrote it.
    pub model: Option<String>,
    /// It costs something: the type is `regular`, or, where no type was sent, Meta said so.
    pub billable: bool,
    /// ISO 3166 code of the recipient's country, `None` if no phone number is known.
    pub country: Option<&'static str>,
    /// See [`Delivery::time`].
    pub time: Timestamp,
    /// See [`Delivery::conflicting`].
    pub conflicting: bool,
}

/// What charges are summed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TotalKey {
    /// Account; empty if none is known.
    pub waba_id: WabaId,
    /// Month of the delivery in UTC, `2026-11`. Meta's volume tiers count in the account's own time
    /// zone, which no webhook names.
    pub month: String,
    /// Pricing category in lower case with `_`, or `unknown`.
    pub category: String,
    /// Pricing `type`; where none was sent, the model in lower case, as of the eras before it, or
    /// `unknown`.
    pub kind: String,
}

/// Charges of one [`TotalKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// Charges, free ones too.
    pub charges: u64,
    /// Those that cost something.
    pub billable: u64,
}

/// By how much a total moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Move {
    /// See [`Total::charges`].
    pub charges: i64,
    /// See [`Total::billable`].
    pub billable: i64,
}

/// The charge of a delivery, if its price is evidence of one.
pub fn charge_of(delivery: &Delivery<'_>) -> Option<Charge> {
    let price = delivery.price;
    if !price.delivered {
        return None;
    }
    let word = |word: Option<&str>| word.map(|word| normal_category(word).into_owned());
    let total = TotalKey {
        waba_id: delivery.waba_id.cloned().unwrap_or_else(|| WabaId::new("")),
        month: delivery.time.month(),
        category: word(price.category).unwrap_or_else(|| UNKNOWN.to_owned()),
        kind: word(price.kind.or(price.model)).unwrap_or_else(|| UNKNOWN.to_owned()),
    };
    Some(Charge {
        total,
        model: price.model.map(str::to_owned),
        billable: is_billable(price.kind, price.billable),
        country: delivery.recipients.iter().find_map(|recipient| country_of(recipient)),
        time: delivery.time,
        conflicting: delivery.conflicting,
    })
}

/// Whether a price costs something: the type decides, and only where none was sent does `billable`.
pub fn is_billable(kind: Option<&str>, billable: Option<bool>) -> bool {
    kind.map_or_else(|| billable == Some(true), |kind| kind == "regular")
}

const UNKNOWN: &str = "unknown";

/// How totals move when a charge becomes another: Σ over charges moves by g(new) − g(old). Empty
/// if they count alike.
pub fn moves(old: Option<&Charge>, new: Option<&Charge>) -> Vec<(TotalKey, Move)> {
    let count = |charge: &Charge, sign: i64| {
        let step = Move { charges: sign, billable: if charge.billable { sign } else { 0 } };
        (charge.total.clone(), step)
    };
    match (old, new) {
        (Some(old), Some(new)) if old.total == new.total => {
            let billable = i64::from(new.billable) - i64::from(old.billable);
            let step = Move { charges: 0, billable };
            (billable != 0).then(|| (new.total.clone(), step)).into_iter().collect()
        }
        (old, new) => {
            old.map(|old| count(old, -1)).into_iter().chain(new.map(|new| count(new, 1))).collect()
        }
    }
}

impl Total {
    /// The total after a move. Never below zero.
    #[must_use]
    pub fn moved(self, by: Move) -> Self {
        Self {
            charges: self.charges.saturating_add_signed(by.charges),
            billable: self.billable.saturating_add_signed(by.billable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_795_132_800_000);

    fn price(kind: Option<&'static str>) -> Price<'static> {
        Price {
            delivered: true,
            model: Some("PMP"),
            kind,
            category: Some("authentication-international"),
            billable: None,
        }
    }

    fn charge(price: Price<'_>) -> Option<Charge> {
        let waba_id = WabaId::from("7");
        charge_of(&Delivery {
            waba_id: Some(&waba_id),
            time: NOON,
            price,
            conflicting: false,
            recipients: &["GB.48", "4915112345678"],
        })
    }

    #[test]
    fn a_quote_is_no_charge() {
        assert_eq!(charge(Price { delivered: false, ..price(Some("regular")) }), None);
    }

    #[test]
    fn a_charge_counts_by_account_month_category_and_type() {
        let charge = charge(price(Some("regular"))).unwrap();
        let total = &charge.total;
        assert_eq!(total.waba_id.as_str(), "7");
        assert_eq!(
            (total.month.as_str(), total.category.as_str(), total.kind.as_str()),
            ("2026-11", "authentication_international", "regular")
        );
        assert_eq!((charge.billable, charge.country), (true, Some("DE")));
    }

    #[test]
    fn the_type_decides_what_costs_and_only_without_one_does_billable() {
        let costs = |kind, billable| charge(Price { billable, ..price(kind) }).unwrap().billable;
        assert!(!costs(Some("free_customer_service"), Some(true)));
        assert!(costs(Some("regular"), Some(false)));
        assert!(costs(None, Some(true)));
        assert!(!costs(None, None));
        let old = charge(Price { billable: Some(true), model: Some("CBP"), ..price(None) });
        assert_eq!(old.unwrap().total.kind, "cbp", "before there were types, the model");
        let bare = charge(Price { delivered: true, ..Price::default() }).unwrap().total;
        assert_eq!((bare.category.as_str(), bare.kind.as_str()), ("unknown", "unknown"));
    }

    #[test]
    fn totals_move_by_the_difference() {
        let regular = charge(price(Some("regular")));
        let free = charge(price(Some("free_entry_point")));
        let marketing = charge(Price { category: Some("marketing"), ..price(Some("regular")) });
        let mut totals = std::collections::BTreeMap::<TotalKey, Total>::new();
        let mut turn = |old: &Option<Charge>, new: &Option<Charge>| {
            for (key, by) in moves(old.as_ref(), new.as_ref()) {
                let total = totals.entry(key).or_default();
                *total = total.moved(by);
            }
            totals.retain(|_, total| *total != Total::default());
            totals.values().map(|total| (total.charges, total.billable)).collect::<Vec<_>>()
        };
        assert_eq!(turn(&None, &regular), [(1, 1)]);
        assert_eq!(turn(&regular, &regular), [(1, 1)]);
        assert_eq!(turn(&regular, &marketing), [(1, 1)], "moved, not counted twice");
        assert_eq!(turn(&marketing, &free), [(1, 0)]);
        assert_eq!(turn(&free, &None), []);
    }

    #[test]
    fn an_id_names_message_and_participant() {
        let id = |wamid: &str, participant| {
            ChargeId::new(&Wamid::from(wamid), &Participant::new(participant))
        };
        assert_eq!(id("a", "").as_str(), "415fa3cdfd8735dd99b3cf10bd2fd403");
        assert_ne!(id("a", "b"), id("ab", ""));
    }
}
