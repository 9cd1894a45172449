//! Names of the places in a claim and in a commit at which
//! [`KafkaOptions::fail_point`](super::KafkaOptions::fail_point) is called, on the thread that does
//! it. What a place means for who dies there:

/// The transactional id is this producer's; the position is not read yet.
pub const CLAIMED: &str = "claimed";
/// The transaction is begun here; no broker knows of it.
pub const BEGUN: &str = "begun";
/// The outputs are on their way to the brokers.
pub const PRODUCING: &str = "producing";
/// The brokers have the outputs, and are about to be given the position.
pub const ADDING_POSITION: &str = "adding_position";
/// The brokers have outputs and position; the transaction is open.
pub const POSITION_ADDED: &str = "position_added";
/// The brokers have said that the transaction is committed.
pub const ENDED: &str = "ended";

/// All of them.
pub const ALL: [&str; 6] = [CLAIMED, BEGUN, PRODUCING, ADDING_POSITION, POSITION_ADDED, ENDED];
