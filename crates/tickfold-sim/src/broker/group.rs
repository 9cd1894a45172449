//! The consumer group: static members, generations, cooperative moves, sessions that end.

use std::collections::{BTreeMap, BTreeSet};

/// After so long without a word a member is out.
pub(crate) const SESSION_MS: u64 = 10_000;

/// A membership; a member that comes back under its name gets a new one, and the old is fenced.
pub(crate) type MemberId = u64;

#[derive(Debug)]
struct Seat {
    member: MemberId,
    seen_ms: u64,
}

/// The coordinator's view.
#[derive(Debug)]
pub(crate) struct Group {
    partitions: u32,
    generation: u32,
    seats: BTreeMap<usize, Seat>,
    /// Whose each partition is, until it is given back.
    owners: Vec<Option<usize>>,
    /// Whose it is to be.
    targets: Vec<Option<usize>>,
    members: MemberId,
    /// Moves the first partition of the next balance.
    turn: usize,
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) generation: u32,
    pub(crate) assigned: BTreeSet<u32>,
    /// Of these, to be given back.
    pub(crate) revoked: BTreeSet<u32>,
}

impl Group {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            partitions,
            generation: 0,
            seats: BTreeMap::new(),
            owners: vec![None; partitions as usize],
            targets: vec![None; partitions as usize],
            members: 0,
            turn: 0,
        }
    }

    /// A process joins. One whose session lasts finds its partitions, without a new generation.
    pub(crate) fn join(&mut self, process: usize, now_ms: u64) -> MemberId {
        self.members += 1;
        let seat = Seat { member: self.members, seen_ms: now_ms };
        if self.seats.insert(process, seat).is_none() {
            self.balance();
        }
        self.members
    }

    /// A member says that it lives and learns what it has; `None` if it is none any more.
    pub(crate) fn heartbeat(
        &mut self,
        process: usize,
        member: MemberId,
        now_ms: u64,
    ) -> Option<Told> {
        let seat = self.seats.get_mut(&process).filter(|seat| seat.member == member)?;
        seat.seen_ms = now_ms;
        let of = |owner: &Option<usize>| *owner == Some(process);
        let ids = 0..self.partitions;
        let assigned: BTreeSet<u32> = ids.filter(|p| of(&self.owners[*p as usize])).collect();
        let revoked = assigned.iter().filter(|p| !of(&self.targets[**p as usize])).copied();
        let revoked = revoked.collect();
        Some(Told { generation: self.generation, assigned, revoked })
    }

    /// A member gives a partition back that is not to be its own.
    pub(crate) fn release(&mut self, process: usize, member: MemberId, partition: u32) {
        let at = partition as usize;
        let seated = self.seats.get(&process).is_some_and(|seat| seat.member == member);
        if seated && self.owners[at] == Some(process) && self.targets[at] != Some(process) {
            self.owners[at] = None;
            self.hand_out();
        }
    }

    /// A member leaves for good.
    pub(crate) fn leave(&mut self, process: usize, member: MemberId) {
        if self.seats.get(&process).is_some_and(|seat| seat.member == member) {
            self.remove(process);
        }
    }

    /// Sessions that ended; how many.
    pub(crate) fn expire(&mut self, now_ms: u64) -> u64 {
        let silent = |seat: &Seat| now_ms.saturating_sub(seat.seen_ms) >= SESSION_MS;
        let gone: Vec<usize> =
            self.seats.iter().filter(|(_, seat)| silent(seat)).map(|(p, _)| *p).collect();
        for process in &gone {
            self.remove(*process);
        }
        gone.len() as u64
    }

    /// Partitions change hands though nobody failed; false if none does, as with one member.
    pub(crate) fn shuffle(&mut self) -> bool {
        let before = self.targets.clone();
        self.turn += 1;
        self.balance();
        self.targets != before
    }

    /// True if a commit in the name of this member counts.
    pub(crate) fn is_member(&self, process: usize, member: MemberId, generation: u32) -> bool {
        generation == self.generation
            && self.seats.get(&process).is_some_and(|seat| seat.member == member)
    }

    /// Whose a partition is.
    pub(crate) fn owner(&self, partition: u32) -> Option<usize> {
        self.owners[partition as usize]
    }

    fn remove(&mut self, process: usize) {
        self.seats.remove(&process);
        for owner in &mut self.owners {
            owner.take_if(|owner| *owner == process);
        }
        self.balance();
    }

    /// Says anew whose each partition is to be, moving as few as possible, and begins a generation.
    fn balance(&mut self) {
        let present: Vec<usize> = self.seats.keys().copied().collect();
        if present.is_empty() {
            self.targets.fill(None);
            self.generation += 1;
            return;
        }
        let total = self.owners.len();
        let fair = total.div_ceil(present.len());
        let mut counts: BTreeMap<usize, usize> = present.iter().map(|p| (*p, 0)).collect();
        let shift = self.turn;
        for at in 0..total {
            let owner = self.owners[at]
                .filter(|owner| counts.get(owner).is_some_and(|count| *count < fair));
            // After a shuffle one of them moves on.
            let owner = owner.filter(|_| shift == 0 || at != shift % total);
            let target = owner.unwrap_or_else(|| {
                let least = present.iter().cycle().skip(shift % present.len());
                let least = least.take(present.len());
                *least.min_by_key(|process| counts[process]).expect("somebody is present")
            });
            *counts.entry(target).or_default() += 1;
            self.targets[at] = Some(target);
        }
        self.turn = 0;
        self.hand_out();
    }

    /// Gives what nobody has to whom it is meant for, in a new generation.
    fn hand_out(&mut self) {
        self.generation += 1;
        for (owner, target) in self.owners.iter_mut().zip(&self.targets) {
            if owner.is_none() {
                *owner = *target;
            }
        }
    }
}
