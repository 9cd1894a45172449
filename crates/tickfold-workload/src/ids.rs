//! Ids that look like Meta's. Every id contains the seed, so that two runs of different seeds
//! against one node never meet in one message, conversation or template.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tickfold_core::ids::{PartyId, PhoneNumberId, TemplateId, TemplateKey, WabaId, Wamid};

use crate::fact::{Direction, Message, Number};
use crate::rng::{Rng, mix};
use crate::spec::Spec;

const LANGUAGES: [&str; 4] = ["en_US", "de", "pt_BR", "es"];

/// Accounts, numbers and templates of a seed, and the source of its messages.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    seed: u64,
    pub(crate) numbers: Vec<Arc<Number>>,
    pub(crate) templates: Vec<Arc<TemplateKey>>,
    parties: u64,
    messages: u64,
}

impl Ids {
    pub(crate) fn new(spec: &Spec) -> Self {
        // Nine digits of the seed; two seeds that share them share accounts, never messages.
        let digits = mix(spec.seed) % 1_000_000_000;
        let mut numbers = Vec::new();
        let mut templates = Vec::new();
        for waba in 0..spec.wabas {
            let waba_id = WabaId::new(format!("21{digits:09}{waba:05}"));
            for number in 0..spec.numbers_per_waba {
                let index = u64::from(waba) * u64::from(spec.numbers_per_waba) + u64::from(number);
                numbers.push(Arc::new(Number {
                    phone_number_id: PhoneNumberId::new(format!("31{digits:09}{index:06}")),
                    waba_id: waba_id.clone(),
                    display: format!("1555{:07}", (digits + index) % 10_000_000),
                }));
            }
            for template in 0..spec.templates_per_waba {
                let id = TemplateId::new(format!("1{digits:09}{waba:05}{template:03}"));
                let language =
                    LANGUAGES.get(template as usize % LANGUAGES.len()).unwrap_or(&"en_US");
                templates.push(Arc::new(TemplateKey::new(waba_id.clone(), id, language)));
            }
        }
        let parties = u64::from(spec.parties_per_number);
        Self { seed: spec.seed, numbers, templates, parties, messages: 0 }
    }

    /// A message that nothing was said of yet; `None` without numbers.
    pub(crate) fn message(&mut self, rng: &mut Rng, direction: Direction) -> Option<Arc<Message>> {
        let number = Arc::clone(rng.pick(&self.numbers)?);
        let party = format!("49151{:08}", rng.below(self.parties));
        self.messages += 1;
        let wamid = wamid(self.seed, self.messages, &party, direction);
        let party = PartyId::new(party);
        Some(Arc::new(Message { wamid, direction, number, party }))
    }
}

/// Meta's own form: base64 of a few tags, the customer's number in clear, and an id in hex. The
/// counter goes through a bijection, so a seed never gives the same id twice.
fn wamid(seed: u64, counter: u64, party: &str, direction: Direction) -> Wamid {
    let id = mix(mix(seed).wrapping_add(counter));
    let (tag, id) = match direction {
        Direction::Outbound => (0x11, format!("{id:016X}{:02X}", seed & 0xff)),
        Direction::Inbound => (0x12, format!("3A{id:016X}{:02X}", seed & 0xff)),
    };
    let length = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![0x1c, 0x18, length(party)];
    bytes.extend_from_slice(party.as_bytes());
    bytes.extend_from_slice(&[0x15, 0x02, 0x00, tag, 0x18, length(&id)]);
    bytes.extend_from_slice(id.as_bytes());
    bytes.push(0);
    Wamid::new(format!("wamid.{}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn wamids_have_the_form_of_the_samples_and_are_unique_per_seed() {
        let sample = "wamid.HBgMNDQ3NzAwOTAwMTIzFQIAERgSODRENTM2OTUzMDI2NTRCREZGAA==";
        let ours = wamid(1, 1, "447700900123", Direction::Outbound);
        assert_eq!(ours.as_str().len(), sample.len());
        let constant = "wamid.HBgMNDQ3NzAwOTAwMTIzFQIAERgS";
        assert!(sample.starts_with(constant) && ours.as_str().starts_with(constant), "{ours}");

        let mut rng = Rng::new(7);
        let mut all = BTreeSet::new();
        for seed in 0..4 {
            let mut ids = Ids::new(&Spec { seed, ..Spec::default() });
            for _ in 0..5_000 {
                all.insert(ids.message(&mut rng, Direction::Outbound).unwrap().wamid.clone());
                all.insert(ids.message(&mut rng, Direction::Inbound).unwrap().wamid.clone());
            }
        }
        assert_eq!(all.len(), 40_000);
    }

    #[test]
    fn two_seeds_share_no_account_number_or_template() {
        let ids = [1, 2].map(|seed| Ids::new(&Spec { seed, ..Spec::default() }));
        let [one, two] = &ids;
        assert!(one.numbers.iter().all(|number| !two.numbers.contains(number)));
        assert!(one.templates.iter().all(|template| !two.templates.contains(template)));
        let distinct: BTreeSet<_> = one.numbers.iter().map(|n| &n.phone_number_id).collect();
        assert_eq!(distinct.len(), 20);
    }
}
