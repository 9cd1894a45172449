//! One template, account or number: where it stands, with what was told of it.

use tickfold_core::action::{ActionId, ActionKind};
use tickfold_core::ids::{PhoneNumberId, TemplateId, TemplateKey, WabaId};
use tickfold_core::state::{Decided, Number, Told, ToldEntry};
use tickfold_proto::query::v1 as pb;
use tickfold_store::Snapshot;

use super::arguments::id;
use super::partitions::{Asked, Snapshots};
use super::then::Lookup;
use super::{Query, TOTALS_MAX, arguments, joined};
use crate::call::Call;
use crate::convert::{self, Shown};
use crate::reasons::{Failure, Reason};

/// What was told of an entity.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// Halts that were asked for and not taken back.
    pub(crate) halts: Vec<Halted>,
    /// Its transitions, the newest first, each with its partition.
    pub(crate) history: Vec<(u32, ToldEntry)>,
}

/// A halt, and what is remembered of it: nothing, once the retention is over.
#[derive(Debug)]
pub(crate) struct Halted {
    pub(crate) id: ActionId,
    pub(crate) kind: ActionKind,
    pub(crate) partition: u32,
    pub(crate) decided: Option<Decided>,
}

impl Story {
    /// What was told of an entity of a partition.
    fn of(place: (u32, &dyn Snapshot), kind: ActionKind, told: &Told) -> Result<Self, Failure> {
        let mut story = Self::in_list(place, kind, told)?;
        story.add_history(place.0, told);
        Ok(story)
    }

    /// As a list has it, without the history.
    pub(super) fn in_list(
        (partition, snapshot): (u32, &dyn Snapshot),
        kind: ActionKind,
        told: &Told,
    ) -> Result<Self, Failure> {
        let mut halts = Vec::new();
        if let Some(id) = told.halt.clone() {
            let decided = snapshot.decided(&id)?;
            halts.push(Halted { id, kind, partition, decided });
        }
        Ok(Self { halts, history: Vec::new() })
    }

    fn add_history(&mut self, partition: u32, told: &Told) {
        self.history.extend(told.history.iter().map(|entry| (partition, entry.clone())));
        self.history.sort_by_key(|(partition, entry)| {
            std::cmp::Reverse((entry.log_time, *partition, entry.offset, entry.ordinal))
        });
    }

    /// What was told of the lines that a number is.
    fn of_number(snapshots: &Snapshots, number: &Number) -> Result<Self, Failure> {
        let mut story = Self::default();
        for (partition, snapshot) in snapshots.each() {
            for (waba_id, digits) in &number.facts.lines {
                let account = snapshot.account(waba_id)?;
                if let Some(told) = account.as_ref().and_then(|of| of.lines_told.get(digits)) {
                    let place = (partition, snapshot);
                    story.halts.extend(Self::in_list(place, ActionKind::HaltNumber, told)?.halts);
                    story.add_history(partition, told);
                }
            }
        }
        Ok(story)
    }
}

impl Query {
    pub(super) async fn template(
        &self,
        request: pb::GetTemplateRequest,
        call: Call,
    ) -> Result<pb::GetTemplateResponse, Failure> {
        let waba_id = WabaId::new(id("waba_id", request.waba_id)?);
        let template_id = TemplateId::new(id("template_id", request.template_id)?);
        let language = id("language", request.language)?;
        let asked = Asked::AccountOf(waba_id.clone());
        let asked = Lookup::of(request.at, request.min_position, asked)?.short();
        let key = TemplateKey::new(waba_id, template_id, &language);
        let reply = self.look_up(
            call,
            asked,
            |_| Ok(true),
            move |snapshots| {
                for (partition, snapshot) in snapshots.each() {
                    let Some(found) = snapshot.template(&key)? else { continue };
                    let place = (partition, snapshot);
                    let told = Story::of(place, ActionKind::HaltTemplate, &found.told)?;
                    let log_time = snapshot.store_head().head.log_time_or_epoch();
                    let template = Some(convert::template(&key, &found, told, log_time));
                    return Ok(pb::GetTemplateResponse {
                        template,
                        as_of: Some(snapshots.as_of()),
                    });
                }
                Err(Failure::new(Reason::TemplateNotFound, "no such template"))
            },
        );
        self.fits(reply.await?)
    }

    pub(super) async fn account(
        &self,
        request: pb::GetAccountRequest,
        call: Call,
    ) -> Result<pb::GetAccountResponse, Failure> {
        let waba_id = WabaId::new(id("waba_id", request.waba_id)?);
        let month = arguments::month(request.month)?;
        let asked = Asked::AccountOf(waba_id.clone());
        let asked = Lookup::of(request.at, request.min_position, asked)?;
        let reply = self.look_up(
            call,
            asked,
            |_| Ok(true),
            move |snapshots| {
                for (partition, snapshot) in snapshots.each() {
                    let found = snapshot.account(&waba_id)?;
                    if found.is_none() && snapshot.totals_of(&waba_id, None, 1)?.is_empty() {
                        continue;
                    }
                    let told = found.as_ref().map(|account| {
                        Story::of((partition, snapshot), ActionKind::HaltAccount, &account.told)
                    });
                    let told = told.transpose()?.unwrap_or_default();
                    // A reply of more would be refused anyway.
                    let totals = snapshot.totals_of(&waba_id, month.as_deref(), TOTALS_MAX)?;
                    let log_time = snapshot.store_head().head.log_time_or_epoch();
                    let shown = Shown { log_time, persons: snapshots.tells_persons() };
                    let mut account = convert::account(&waba_id, found.as_ref(), told, shown);
                    // A charge that moved to another total leaves an empty one behind.
                    let totals = totals.into_iter().filter(|(_, total)| total.charges > 0);
                    account.totals = totals.map(convert::total).collect();
                    let as_of = Some(snapshots.as_of());
                    return Ok(pb::GetAccountResponse { account: Some(account), as_of });
                }
                Err(Failure::new(Reason::AccountNotFound, "no such account"))
            },
        );
        self.fits(reply.await?)
    }

    pub(super) async fn number(
        &self,
        request: pb::GetNumberRequest,
        call: Call,
    ) -> Result<pb::GetNumberResponse, Failure> {
        let key = PhoneNumberId::new(id("phone_number_id", request.phone_number_id)?);
        let asked = Lookup::of(request.at, request.min_position, Asked::All)?.short();
        let held = key.clone();
        let holds = move |snapshot: &dyn Snapshot| Ok(snapshot.number(&held)?.is_some());
        let reply = self.look_up(call, asked, holds, move |snapshots| {
            let Some((found, log_time)) = joined::number(&snapshots, &key)? else {
                return Err(Failure::new(Reason::NumberNotFound, "no such number"));
            };
            let told = Story::of_number(&snapshots, &found)?;
            let shown = Shown { log_time, persons: snapshots.tells_persons() };
            let number = Some(convert::number(&key, &found, told, shown));
            Ok(pb::GetNumberResponse { number, as_of: Some(snapshots.as_of()) })
        });
        self.fits(reply.await?)
    }
}
