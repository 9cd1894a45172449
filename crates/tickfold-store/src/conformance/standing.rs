//! Random values of what Meta manages: templates, accounts, numbers.

use std::collections::BTreeMap;

use tickfold_core::ids::{PhoneNumberId, WabaId};
use tickfold_core::state::{
    Account, AccountEventFact, AccountFacts, Capability, CategoryAnnouncement, CategoryChange,
    CategoryDetection, ComponentsFact, Country, Imposed, LimitFact, Line, NameDecision, Named,
    Number, NumberFacts, QualityFact, RateEligibility, Restrictions, Review, SecurityFact, Seen,
    Standing, Template, TemplateEventFact, TemplateFacts, Tier, TierKey, Told, ToldEntry,
    UsernameFact, quality_rank,
};

use super::random::Random;

impl Random {
    /// A few entries of a map.
    fn few<K: Ord, V>(&mut self, make: impl Fn(&mut Self) -> (K, V)) -> BTreeMap<K, V> {
        (0..self.below(3)).map(|_| make(self)).collect()
    }

    fn told(&mut self) -> Told {
        let history = (0..self.below(3)).map(|_| ToldEntry {
            from: self.maybe(Self::text),
            to: self.text(),
            state: self.text(),
            late: self.one_in(2),
            event_time: self.maybe(Self::time),
            log_time: self.time(),
            received_time: self.maybe(Self::time),
            reason: self.maybe(Self::text),
            old_value: self.maybe(Self::text),
            new_value: self.maybe(Self::text),
            offset: self.number64(),
            ordinal: u32::from(self.byte()),
        });
        let history = history.collect();
        Told {
            state: self.maybe(Self::text),
            halt: self.maybe(Self::action_id),
            halt_ends: self.maybe(Self::time),
            history,
        }
    }

    /// A template.
    pub fn template(&mut self) -> Template {
        let events = self.few(|random| {
            let fact = TemplateEventFact {
                time: random.maybe(Self::time),
                name: random.maybe(Self::text),
                reason: random.maybe(Self::text),
                category: random.maybe(Self::text),
                title: random.maybe(Self::text),
                description: random.maybe(Self::text),
                disable_date: random.maybe(Self::text),
            };
            (random.text(), fact)
        });
        let facts = TemplateFacts {
            events,
            quality: self.maybe(|random| {
                let score = (*random.pick(&["RED", "YELLOW", "GREEN", "", "new"])).to_owned();
                QualityFact {
                    time: random.maybe(Self::time),
                    rank: quality_rank(&score),
                    score,
                    previous: random.maybe(Self::text),
                }
            }),
            category_change: self.maybe(|random| CategoryChange {
                time: random.maybe(Self::time),
                category: random.text(),
                previous: random.maybe(Self::text),
            }),
            announcement: self.maybe(|random| CategoryAnnouncement {
                time: random.maybe(Self::time),
                coming: random.text(),
                present: random.maybe(Self::text),
                effective: random.maybe(Self::time),
            }),
            detection: self.maybe(|random| CategoryDetection {
                time: random.maybe(Self::time),
                correct: random.text(),
                category: random.maybe(Self::text),
            }),
            components: self.maybe(|random| ComponentsFact {
                time: random.maybe(Self::time),
                digest: random.text(),
            }),
            named: self
                .maybe(|random| Named { time: random.maybe(Self::time), name: random.text() }),
        };
        Template { facts, told: self.told(), journal: self.journal() }
    }

    fn restrictions(&mut self) -> Restrictions {
        Restrictions {
            imposed: self.few(|random| {
                let (time, expires) = (random.maybe(Self::time), random.maybe(Self::time));
                (random.text(), Imposed::new(time, expires))
            }),
            lifted: self.few(|random| (random.text(), random.maybe(Self::time))),
        }
    }

    fn standing(&mut self) -> Standing {
        Standing {
            quality: self.few(|random| {
                let fact = LimitFact {
                    time: random.maybe(Self::time),
                    limit: random.maybe(Self::text),
                    old_limit: random.maybe(Self::text),
                };
                (random.text(), fact)
            }),
            name: self.maybe(|random| NameDecision {
                time: random.maybe(Self::time),
                refused: random.one_in(2),
                decision: random.text(),
                requested_name: random.maybe(Self::text),
                rejection_reason: random.maybe(Self::text),
            }),
            security: self.few(|random| {
                let time = random.maybe(Self::time);
                (random.text(), SecurityFact { time, requester: random.maybe(Self::text) })
            }),
            username: self.maybe(|random| UsernameFact {
                time: random.maybe(Self::time),
                status: random.text(),
                username: random.maybe(Self::text),
            }),
            restrictions: self.restrictions(),
        }
    }

    /// An account.
    pub fn account(&mut self) -> Account {
        let events = self.few(|random| {
            let fact = AccountEventFact {
                time: random.maybe(Self::time),
                restrictive: random.one_in(2),
                ban_state: random.maybe(Self::text),
                ban_date: random.maybe(Self::time),
                violation_type: random.maybe(Self::text),
                remediation: random.maybe(Self::text),
                disconnection_reason: random.maybe(Self::text),
                restrictions: (0..random.below(3))
                    .map(|_| (random.text(), random.maybe(Self::time)))
                    .collect(),
            };
            ((random.text(), random.text()), fact)
        });
        let facts = AccountFacts {
            events,
            restrictions: self.restrictions(),
            review: self.maybe(|random| Review {
                time: random.maybe(Self::time),
                refused: random.one_in(2),
                decision: random.text(),
            }),
            capability: self.maybe(|random| Capability {
                time: random.maybe(Self::time),
                daily_limit: random.maybe(Self::text),
                numbers_per_business: random.maybe(|random| *random.pick(&[-1, 0, 20])),
                numbers_per_account: random.maybe(|random| *random.pick(&[-1, 0, i64::MAX])),
            }),
            tiers: self.few(|random| {
                let key = TierKey {
                    month: random.text(),
                    region: random.text(),
                    category: random.text(),
                    tier: random.text(),
                };
                (key, Tier { updated: random.maybe(Self::time) })
            }),
            rates: self.maybe(|random| RateEligibility {
                time: random.maybe(Self::time),
                start: random.maybe(Self::time),
                exceptions: random.few(|random| (random.text(), random.maybe(Self::time))),
            }),
            country: self
                .maybe(|random| Country { time: random.maybe(Self::time), country: random.text() }),
            lines: self.few(|random| {
                let ids = (0..random.below(3)).map(|_| PhoneNumberId::new(random.id()));
                let number_ids = ids.collect();
                (random.text(), Line { number_ids, standing: random.standing() })
            }),
        };
        Account {
            facts,
            told: self.told(),
            lines_told: self.few(|random| (random.text(), random.told())),
            seen: Seen {
                messages: self.one_in(2),
                management: self.one_in(2),
                hour: *self.pick(&[0, -1, 498_648, i64::MAX]),
            },
            journal: self.journal(),
        }
    }

    /// A number.
    pub fn number(&mut self) -> Number {
        let facts = NumberFacts {
            waba_id: self.maybe(|random| WabaId::new(random.id())),
            displays: self.few(|random| (random.text(), random.maybe(Self::time))),
            lines: (0..self.below(3)).map(|_| (WabaId::new(self.id()), self.text())).collect(),
            standing: self.standing(),
        };
        let active_hour = *self.pick(&[0, -1, 498_648, i64::MAX]);
        Number { facts, active_hour, journal: self.journal() }
    }
}
