//! A document of rules: what is taken has one canonical form, which is taken again, as is what a person
//! is shown; and a record of it is folded.

use tickfold_core::fold::Partition;
use tickfold_core::overlay::Nothing;
use tickfold_core::raw::{self, RawRecord};
use tickfold_core::rules::Rules;
use tickfold_core::time::Timestamp;
use tickfold_core::{Overlay, fold};

/// See the module's description.
pub fn check(bytes: &[u8]) {
    let headers = raw::rules_headers(1);
    let record = RawRecord {
        offset: 0,
        appended: Timestamp::from_millis(1_795_132_800_000),
        headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
        value: Some(bytes),
    };
    let mut overlay = Overlay::default();
    let partition = Partition { id: 0, count: 1 };
    fold(&mut overlay, &Nothing, partition, &record).expect("nothing can always be read");

    let Ok(rules) = Rules::parse(bytes) else { return };
    let canonical = rules.canonical();
    let again = Rules::parse(&canonical).expect("the canonical form is taken");
    assert_eq!(again.canonical(), canonical);
    let shown = Rules::parse(rules.pretty().as_bytes()).expect("what is shown is taken");
    assert_eq!(shown.canonical(), canonical);
}
