//! The topic as `tickfold tail wa.action.v1 -o jsonl` prints it, for a node without Kafka. There are
//! no offsets to commit: from the beginning it is all carried out again, and the gateway knows the
//! keys.

use std::io::BufRead as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use crate::{Action, GATHERED_MAX, Source, say};

const FIRST: Duration = Duration::from_millis(500);
const MORE: Duration = Duration::from_millis(50);

/// A line: the record around its value.
#[derive(Deserialize)]
struct Line {
    value: Action,
}

/// Lines as they come.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of_stdin() -> Self {
        let (sender, lines) = channel();
        // Ends with the process: nothing else can end a read of standard input.
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }
}

impl Source for Lines {
    fn gather(&mut self) -> Result<Option<Vec<Action>>> {
        let mut actions = Vec::new();
        let mut wait = FIRST;
        while actions.len() < GATHERED_MAX {
            match self.0.recv_timeout(wait) {
                Ok(line) => match serde_json::from_str::<Line>(&line) {
                    Ok(Line { value }) => {
                        actions.push(value);
                        wait = MORE;
                    }
                    Err(error) => {
                        say(&serde_json::json!({"error": format!("not an action: {error}")}));
                    }
                },
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) if actions.is_empty() => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(Some(actions))
    }

    fn done(&mut self) -> Result<()> {
        Ok(())
    }
}
