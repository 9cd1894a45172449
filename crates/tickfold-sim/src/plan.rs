//! What a run is made of, as text that fits on a command line: a seed, and what is left out of it.
//!
//! Everything follows from the plan, so the same text gives the same run, byte for byte.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, bail};

use crate::rng::Dice;

macro_rules! faults {
    ($($variant:ident $word:literal $text:literal,)*) => {
        /// What a run may be troubled by. Each can be switched off by itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $(#[doc = $text] $variant,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// A fixed word, for command lines and tables.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What it is.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

faults! {
    Kill "kill" "A process dies between any two of its steps; its disk stays.",
    PowerLoss "power-loss" "A machine dies: what was not synced is lost from the end.",
    Pause "pause" "A process stands still past its session, and goes on as a zombie.",
    Cut "cut" "A process reaches no broker for a while.",
    Leave "leave" "A process stops in order and leaves the group.",
    Restart "restart" "A process stops in order and comes back within its session.",
    RequestLost "request-lost" "A request never arrives; the client gives up waiting.",
    AnswerLost "answer-lost" "A request takes effect and its answer never arrives.",
    RequestLate "request-late" "A request arrives long after its client gave up.",
    RequestRepeated "request-repeated" "A connection fails; its request is repeated, the first copy arrives later.",
    Refusal "refusal" "A broker states that a transaction cannot go on.",
    SlowMarkers "slow-markers" "The markers of a transaction that ended take long.",
    OffsetMoved "offset-moved" "An operator moves a position with a foreign tool, and back when refused.",
    OffsetExpired "offset-expired" "The group was away so long that its positions are gone.",
    ForeignTxn "foreign-txn" "A tool writes to raw in transactions, some of which abort.",
    DiskFull "disk-full" "The disk takes no writes for a while.",
    ReadError "read-error" "The disk gives no reads while a record is folded.",
    StoreWiped "store-wiped" "A store is deleted.",
    StoreTorn "store-torn" "A store can no longer be understood.",
    StoreRots "store-rots" "A store's digest is not that of its state.",
    IngressDown "ingress-down" "Nobody listens to Meta for a while, nor appends ticks.",
    IngressUnsure "ingress-unsure" "An append times out: it is done, half done, or not.",
    SyncFails "sync-fails" "A sync of the embedded log fails and poisons it.",
    Takeover "takeover" "The group moves partitions though nobody failed.",
    Duplicates "duplicates" "Meta repeats webhooks, alone and regrouped.",
    Disorder "disorder" "Statuses arrive in any order, some of them days late.",
    Broken "broken" "Bodies and items that cannot be decoded.",
    Rules "rules" "Rules change.",
    Redrives "redrives" "Records are redriven.",
    Replay "replay" "An operator replays a partition beside its store, and swaps it in.",
    Days "days" "Days and months pass.",
    Outages "outages" "Minutes pass in which nobody listens.",
}

/// Faults by bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(u64);

impl Faults {
    /// All.
    pub fn all() -> Self {
        Fault::ALL.iter().fold(Self(0), |faults, fault| faults.with(*fault))
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u32)
    }

    /// True if it is among them.
    pub fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u32 != 0
    }

    /// Each of them.
    pub(crate) fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |fault| self.has(*fault))
    }

    /// These without those.
    #[must_use]
    pub fn without(self, those: Self) -> Self {
        Self(self.0 & !those.0)
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        faults.into_iter().fold(Self(0), Self::with)
    }
}

/// A run, before it is run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What everything is thrown by.
    pub seed: u64,
    /// Faults that are switched off.
    pub off: Faults,
    /// Steps before the world is healed; by the seed if absent.
    pub steps: Option<u64>,
    /// Webhooks that are never sent, by their number.
    pub skip: BTreeSet<u64>,
}

impl Plan {
    /// A seed with nothing left out.
    pub fn seed(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// A seed without any fault: the null control.
    pub fn calm(seed: u64) -> Self {
        Self { seed, off: Faults::all(), ..Self::default() }
    }

    /// The faults that may happen in it.
    pub fn faults(&self) -> impl Iterator<Item = Fault> + use<> {
        self.swarm().faults.iter()
    }

    /// What the seed troubles the run with: a different mixture each time, since what never
    /// happens together hides what does.
    pub(crate) fn swarm(&self) -> Swarm {
        let mut dice = Dice::of(self.seed, "swarm");
        // By dice of its own: whether there are replays leaves the other choices as they are.
        let others = Fault::ALL.iter().copied().filter(|fault| *fault != Fault::Replay);
        let chosen = others.filter(|_| dice.below(5) < 3).collect::<Faults>();
        let chosen = match Dice::of(self.seed, "replays").below(5) < 3 {
            true => chosen.with(Fault::Replay),
            false => chosen,
        };
        Swarm {
            faults: chosen.without(self.off),
            embedded: dice.one_in(5),
            partitions: dice.pick(&[1, 2, 2, 3]),
            processes: dice.pick(&[1, 2, 2, 3]),
            webhooks: 5 + dice.below(30),
            steps: {
                let steps = 250 + dice.below(750);
                self.steps.unwrap_or(steps)
            },
            often: dice.pick(&[8, 20, 60]),
        }
    }
}

/// What a seed makes of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swarm {
    /// Faults that may happen.
    pub(crate) faults: Faults,
    /// The log is the embedded one.
    pub(crate) embedded: bool,
    /// Partitions of raw.
    pub(crate) partitions: u32,
    /// Processes.
    pub(crate) processes: usize,
    /// Webhooks that Meta sends at first hand.
    pub(crate) webhooks: u64,
    /// Steps before the world is healed.
    pub(crate) steps: u64,
    /// A fault strikes once in so many chances.
    pub(crate) often: u64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        let words = |faults: &mut dyn Iterator<Item = &Fault>| {
            faults.map(|fault| fault.word()).collect::<Vec<_>>().join(",")
        };
        if self.off == Faults::all() {
            write!(f, " --off all")?;
        } else if self.off != Faults::default() {
            let off = words(&mut Fault::ALL.iter().filter(|fault| self.off.has(**fault)));
            write!(f, " --off {off}")?;
        }
        if let Some(steps) = self.steps {
            write!(f, " --steps {steps}")?;
        }
        if !self.skip.is_empty() {
            write!(f, " --skip {}", ranges(&self.skip))?;
        }
        Ok(())
    }
}

/// Numbers as ranges: `1-3,7`.
fn ranges(numbers: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let text = |(from, to): (u64, u64)| match from == to {
        true => from.to_string(),
        false => format!("{from}-{to}"),
    };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
}

impl FromStr for Plan {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let seed = words.next().context("a plan begins with its seed")?;
        let mut plan = Self::seed(seed.parse().with_context(|| format!("read seed {seed:?}"))?);
        while let Some(option) = words.next() {
            let value = words.next().with_context(|| format!("{option} has no value"))?;
            match option {
                "--off" if value == "all" => plan.off = Faults::all(),
                "--off" => {
                    for word in value.split(',') {
                        let fault = Fault::ALL.iter().find(|fault| fault.word() == word);
                        plan.off =
                            plan.off.with(*fault.with_context(|| format!("no fault {word:?}"))?);
                    }
                }
                "--steps" => plan.steps = Some(value.parse().context("read --steps")?),
                "--skip" => {
                    for range in value.split(',') {
                        let (from, to) = range.split_once('-').unwrap_or((range, range));
                        let number = |text: &str| text.parse::<u64>().context("read --skip");
                        plan.skip.extend(number(from)?..=number(to)?);
                    }
                }
                _ => bail!("a plan has no {option}"),
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_from_its_text() {
        for text in ["17", "17 --off all", "3 --off kill,days --steps 40 --skip 1,5-9"] {
            assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
        }
        for text in ["", "x", "1 --off", "1 --off nothing", "1 --what 3"] {
            assert!(text.parse::<Plan>().is_err(), "{text:?}");
        }
    }
}
