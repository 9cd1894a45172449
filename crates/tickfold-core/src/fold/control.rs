//! Control records and log time: rules that come into force, and gaps after which deadlines wait.

use std::sync::Arc;

use super::Run;
use crate::json::Path;
use crate::overlay::{Source, SourceError};
use crate::rules::{Invalid, Rules};
use crate::time::{SECOND_MS, Timestamp};

/// A gap in the log: nobody listened. Ticks come every few seconds otherwise.
const GAP_MS: i64 = 30 * SECOND_MS;

/// How long after a gap the retries of what was missed may take to come.
const RETRIES_MS: i64 = 120 * SECOND_MS;

impl<S: Source + ?Sized> Run<'_, S> {
    /// After a gap in the log no deadline is judged for a while.
    pub(super) fn notice_gap(&mut self, before: Option<Timestamp>) -> Result<(), SourceError> {
        let log_time = self.place.log_time;
        if before.is_none_or(|before| log_time <= before.plus(GAP_MS)) {
            return Ok(());
        }
        let until = log_time.plus(RETRIES_MS);
        self.deadlines_wait_until = Some(until);
        let regime = self.overlay.regime.entry(&(), |()| self.below.regime())?;
        regime.get_or_insert_default().deadlines_wait_until = Some(until);
        Ok(())
    }

    /// Puts rules into force from here on. Anything but a valid document of a higher version
    /// changes nothing and is a dead letter.
    pub(super) fn apply_rules(&mut self, value: Option<&[u8]>) -> Result<(), SourceError> {
        let rules = match Rules::parse(value.unwrap_or_default()) {
            Ok(rules) if rules.version() > self.rules.version() => Arc::new(rules),
            Ok(_) => {
                self.broken_record("rules_version_not_above", value);
                return Ok(());
            }
            Err(Invalid { path, reason: _ }) => {
                let path = match path.trim_end_matches('.') {
                    "" => Path::Root,
                    path => Path::Member(&Path::Root, path),
                };
                self.broken_at(path, "rules_invalid", value);
                return Ok(());
            }
        };
        self.rules = Arc::clone(&rules);
        let version = rules.version();
        let regime = self.overlay.regime.entry(&(), |()| self.below.regime())?;
        regime.get_or_insert_default().rules = rules;
        if let Some(head) = &mut self.overlay.head {
            head.rules_version = version;
        }
        Ok(())
    }
}
