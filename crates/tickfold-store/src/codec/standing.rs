//! What Meta says of a number, what is restricted, and what was told of it: parts of accounts and
//! numbers.

use tickfold_core::action::ActionId;
use tickfold_core::ids::PhoneNumberId;
use tickfold_core::state::{
    Imposed, LimitFact, Line, NameDecision, Restrictions, SecurityFact, Standing, Told, ToldEntry,
    UsernameFact,
};
use tickfold_core::time::Timestamp;
use tickfold_proto::store::v1 as proto;

use super::content::{from_times, to_times};
use super::{Damage, from_ms, rising, rising_map, to_ms};

pub(super) fn to_told(told: &Told) -> Option<proto::Told> {
    Some(proto::Told {
        state: told.state.clone(),
        halt: told.halt.as_ref().map(|halt| halt.as_str().to_owned()),
        history: told.history.iter().map(to_entry).collect(),
        halt_ends_ms: to_ms(told.halt_ends),
    })
}

pub(super) fn from_told(told: Option<proto::Told>) -> Result<Told, Damage> {
    let told = told.ok_or_else(|| Damage::missing("told"))?;
    Ok(Told {
        state: told.state,
        halt: told.halt.map(ActionId::from_text),
        history: told.history.into_iter().map(from_entry).collect(),
        halt_ends: from_ms(told.halt_ends_ms),
    })
}

fn to_entry(entry: &ToldEntry) -> proto::ToldEntry {
    proto::ToldEntry {
        from: entry.from.clone(),
        to: entry.to.clone(),
        state: entry.state.clone(),
        late: entry.late,
        event_time_ms: to_ms(entry.event_time),
        log_time_ms: entry.log_time.as_millis(),
        received_time_ms: to_ms(entry.received_time),
        reason: entry.reason.clone(),
        old_value: entry.old_value.clone(),
        new_value: entry.new_value.clone(),
        offset: entry.offset,
        ordinal: entry.ordinal,
    }
}

fn from_entry(entry: proto::ToldEntry) -> ToldEntry {
    ToldEntry {
        from: entry.from,
        to: entry.to,
        state: entry.state,
        late: entry.late,
        event_time: from_ms(entry.event_time_ms),
        log_time: Timestamp::from_millis(entry.log_time_ms),
        received_time: from_ms(entry.received_time_ms),
        reason: entry.reason,
        old_value: entry.old_value,
        new_value: entry.new_value,
        offset: entry.offset,
        ordinal: entry.ordinal,
    }
}

pub(super) fn to_restrictions(restrictions: &Restrictions) -> Option<proto::Restrictions> {
    let imposed = restrictions.imposed.iter().map(|(kind, imposed)| proto::ImposedRestriction {
        restriction_type: kind.clone(),
        time_ms: to_ms(imposed.time),
        expires_ms: to_ms(imposed.expires),
    });
    Some(proto::Restrictions {
        imposed: imposed.collect(),
        lifted: to_times(&restrictions.lifted, String::as_str),
    })
}

pub(super) fn from_restrictions(
    restrictions: Option<proto::Restrictions>,
) -> Result<Restrictions, Damage> {
    let restrictions = restrictions.ok_or_else(|| Damage::missing("restrictions"))?;
    let imposed = restrictions.imposed.into_iter().map(|imposed| {
        let proto::ImposedRestriction { restriction_type, time_ms, expires_ms } = imposed;
        Ok((restriction_type, Imposed::new(from_ms(time_ms), from_ms(expires_ms))))
    });
    Ok(Restrictions {
        imposed: rising_map(imposed, "restrictions")?,
        lifted: from_times(restrictions.lifted, String::from, "lifted restrictions")?,
    })
}

pub(super) fn to_standing(standing: &Standing) -> Option<proto::Standing> {
    let Standing { quality, name, security, username, restrictions } = standing;
    let quality = quality.iter().map(|(event, fact)| proto::NumberLimit {
        event: event.clone(),
        time_ms: to_ms(fact.time),
        limit: fact.limit.clone(),
        old_limit: fact.old_limit.clone(),
    });
    let security = security.iter().map(|(event, fact)| proto::NumberSecurity {
        event: event.clone(),
        time_ms: to_ms(fact.time),
        requester: fact.requester.clone(),
    });
    Some(proto::Standing {
        quality: quality.collect(),
        name: name.as_ref().map(|name| proto::NumberName {
            time_ms: to_ms(name.time),
            refused: name.refused,
            decision: name.decision.clone(),
            requested_name: name.requested_name.clone(),
            rejection_reason: name.rejection_reason.clone(),
        }),
        security: security.collect(),
        username: username.as_ref().map(|username| proto::NumberUsername {
            time_ms: to_ms(username.time),
            status: username.status.clone(),
            username: username.username.clone(),
        }),
        restrictions: to_restrictions(restrictions),
    })
}

pub(super) fn from_standing(standing: Option<proto::Standing>) -> Result<Standing, Damage> {
    let standing = standing.ok_or_else(|| Damage::missing("standing"))?;
    let quality = standing.quality.into_iter().map(|fact| {
        let proto::NumberLimit { event, time_ms, limit, old_limit } = fact;
        Ok((event, LimitFact { time: from_ms(time_ms), limit, old_limit }))
    });
    let security = standing.security.into_iter().map(|fact| {
        let proto::NumberSecurity { event, time_ms, requester } = fact;
        Ok((event, SecurityFact { time: from_ms(time_ms), requester }))
    });
    Ok(Standing {
        quality: rising_map(quality, "limits")?,
        name: standing.name.map(|name| NameDecision {
            time: from_ms(name.time_ms),
            refused: name.refused,
            decision: name.decision,
            requested_name: name.requested_name,
            rejection_reason: name.rejection_reason,
        }),
        security: rising_map(security, "security events")?,
        username: standing.username.map(|username| UsernameFact {
            time: from_ms(username.time_ms),
            status: username.status,
            username: username.username,
        }),
        restrictions: from_restrictions(standing.restrictions)?,
    })
}

pub(super) fn to_line((digits, line): (&String, &Line)) -> proto::Line {
    proto::Line {
        digits: digits.clone(),
        number_ids: line.number_ids.iter().map(|id| id.as_str().to_owned()).collect(),
        standing: to_standing(&line.standing),
    }
}

pub(super) fn from_line(line: proto::Line) -> Result<(String, Line), Damage> {
    let ids = line.number_ids.into_iter().map(|id| Ok(PhoneNumberId::new(id)));
    let number_ids = rising(ids, Ord::cmp, "number ids")?;
    Ok((line.digits, Line { number_ids, standing: from_standing(line.standing)? }))
}
