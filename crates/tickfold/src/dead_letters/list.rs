//! Lists of dead letters over all partitions, in the order of log time.
//!
//! The topic is read twice: first for the redrives, which stand behind what they are of, then for the
//! page. So a page costs memory for itself and for the redrives, however much is in the topic.

use std::collections::BTreeMap;

use tickfold_log::Offset;
use tickfold_proto::admin::v1 as pb;
use tickfold_query::Reason;
use tonic::Status;

use super::letter::{Attempts, Letter};
use super::{Parts, Position};

/// Entries of a page.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// A place in the order of a list.
type Place = (i64, u32, Offset, u32);

/// Which page of which list.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) filter: pb::DeadLetterFilter,
    /// Also what a later redrive took the place of.
    pub(super) all: bool,
    /// Also what a redrive left, if not all.
    pub(super) failed_again: bool,
    pub(super) oldest_first: bool,
    pub(super) size: usize,
    /// Behind this place.
    pub(super) behind: Option<Place>,
}

/// What a page holds.
#[derive(Debug)]
pub(super) struct Found {
    /// In the order that was asked for.
    pub(super) letters: Vec<Letter>,
    pub(super) attempts: BTreeMap<Position, Attempts>,
    /// There are further ones.
    pub(super) more: bool,
}

impl Parts {
    pub(super) async fn list(
        &self,
        request: pb::ListDeadLettersRequest,
    ) -> Result<pb::ListDeadLettersResponse, Status> {
        let pb::ListDeadLettersRequest { filter, all, oldest_first, page_size, page_token } =
            request;
        let size = match page_size as usize {
            0 => PAGE_DEFAULT,
            size if size <= PAGE_MAX => size,
            _ => {
                let message = format!("page_size: is above {PAGE_MAX}");
                return Err(Reason::InvalidArgument.status(message));
            }
        };
        let behind = match page_token.is_empty() {
            true => None,
            false => Some(read_token(&page_token).ok_or_else(|| {
                Reason::PageTokenInvalid.status("page_token: is not one of this service")
            })?),
        };
        let filter = filter.unwrap_or_default();
        let page = Page { filter, all, failed_again: true, oldest_first, size, behind };
        let Found { letters, attempts, more } = self.find(&page).await?;
        let last = letters.last().filter(|_| more).map(|letter| token(letter.place()));
        let told = letters.into_iter().map(|letter| {
            let attempts = attempts.get(&letter.position);
            letter.told(attempts)
        });
        Ok(pb::ListDeadLettersResponse {
            dead_letters: told.collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }

    /// The dead letters of a page.
    pub(super) async fn find(&self, page: &Page) -> Result<Found, Status> {
        let filter = &page.filter;
        let mut partitions = filter.partitions.clone();
        partitions.iter().try_for_each(|partition| self.check_partition(*partition))?;
        if partitions.is_empty() {
            partitions.extend(0..self.raw.partitions);
        }
        partitions.sort_unstable();
        partitions.dedup();
        let (mut attempts, mut starts) = (BTreeMap::new(), Vec::new());
        for &partition in &partitions {
            let start = match &filter.since {
                None => 0,
                Some(since) => {
                    let ms = since.seconds.saturating_mul(1_000);
                    let ms = ms.saturating_add(i64::from(since.nanos) / 1_000_000);
                    self.letters_since(partition, ms).await?
                }
            };
            attempts.extend(self.attempts(partition, start).await?);
            starts.push(start);
        }
        // The page and one more, which tells that there is one.
        let mut kept: BTreeMap<Place, Letter> = BTreeMap::new();
        for (&partition, start) in partitions.iter().zip(starts) {
            let mut keep = |mut letter: Letter| {
                letter.forget_raw();
                let place = letter.place();
                let passed = page.behind.is_none_or(|behind| match page.oldest_first {
                    true => place > behind,
                    false => place < behind,
                });
                let state = letter.state(attempts.get(&letter.position));
                let stands = match state {
                    pb::DeadLetterState::Open => true,
                    pb::DeadLetterState::FailedAgain => page.all || page.failed_again,
                    _ => page.all,
                };
                if !passed || !stands || letter.is_redriven() || !letter.is_meant(filter) {
                    return;
                }
                kept.insert(place, letter);
                if kept.len() > page.size + 1 {
                    _ = if page.oldest_first { kept.pop_last() } else { kept.pop_first() };
                }
            };
            self.scan(partition, start, &mut keep).await?;
        }
        let more = kept.len() > page.size;
        let mut letters: Vec<Letter> = kept.into_values().collect();
        if !page.oldest_first {
            letters.reverse();
        }
        letters.truncate(page.size);
        Ok(Found { letters, attempts, more })
    }
}

fn token((time_ms, partition, offset, ordinal): Place) -> String {
    format!("{time_ms}.{partition}.{offset}.{ordinal}")
}

fn read_token(text: &str) -> Option<Place> {
    let mut parts = text.split('.');
    let place = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_place() {
        let place = (1_795_132_800_000, 3, 42, 1);
        assert_eq!(read_token(&token(place)), Some(place));
        for bad in ["", "1.2.3", "1.2.3.4.5", "a.2.3.4", "1.-2.3.4"] {
            assert_eq!(read_token(bad), None, "{bad:?}");
        }
    }
}
