//! All integration tests of this crate that say something about a fold, in one binary, for the mutants of it
//! (`scripts/mutants.sh`): each mutant is a build, and links once instead of ten times. Empty without the feature.

#![cfg(feature = "mutants")]
#![allow(clippy::duplicate_mod, reason = "each test file brings its own support")]

#[path = "content.rs"]
mod content;
#[path = "corpus.rs"]
mod corpus;
#[path = "fold.rs"]
mod fold;
#[path = "golden.rs"]
mod golden;
#[path = "laws.rs"]
mod laws;
#[path = "management.rs"]
mod management;
#[path = "muted.rs"]
mod muted;
#[path = "reactions.rs"]
mod reactions;
#[path = "redrives.rs"]
mod redrives;
#[path = "republish.rs"]
mod republish;
#[path = "scenarios.rs"]
mod scenarios;
#[path = "schemas.rs"]
mod schemas;
