//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::node::Role;

/// Event-sourced stream processor for WhatsApp Business Platform webhooks.
#[derive(Debug, Parser)]
#[command(name = "tickfold", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process on the embedded log: ingress, processor, queries.
    ///
    /// Secrets come from the environment: TICKFOLD_APP_SECRET and TICKFOLD_VERIFY_TOKEN, or
    /// TICKFOLD_APP_SECRET_FILE and TICKFOLD_VERIFY_TOKEN_FILE; or, for several apps or secrets,
    /// from the files that `ingress.apps_file` names. SIGHUP reads secrets and certificates again,
    /// SIGTERM and SIGINT stop in order.
    Up(Settings),
    /// Take webhooks and append them to the log on Kafka: one of any number of such processes.
    ///
    /// Needs no data directory. Secrets, and what signals do, are as with `tickfold up`. gRPC serves
    /// what operators ask of it: reload, quarantine, topics, tail, rules, stop.
    Ingress(Settings),
    /// Fold the log on Kafka and answer queries: one of the processes that share its partitions.
    ///
    /// Each has a data directory of its own. Any of them answers for every partition: what another one
    /// owns it asks there. SIGTERM and SIGINT stop in order, to come back: others take over after the
    /// session timeout. `tickfold stop --leave` hands the partitions over at once.
    Processor(Settings),
    /// Stop a running node, in the order in which SIGTERM stops it, and wait until it has stopped.
    Stop(Stop),
    /// Print the effective settings and where each came from; secrets are not printed.
    Config {
        #[command(flatten)]
        settings: Settings,
        /// Print the commented defaults instead.
        #[arg(long)]
        defaults: bool,
    },
    /// Ask a running node for one thing.
    Get {
        #[command(subcommand)]
        what: Get,
    },
    /// Tell which raw records touched a message, and what each changed or why nothing.
    ///
    /// Each record is told with its position `PARTITION@OFFSET`, its log time, the items of it that
    /// name the message, and its outcome: new_fact, amended (better values of known facts), repeated,
    /// mentioned (it says nothing of the message), broken (a dead letter), elsewhere (another
    /// partition folds it), decided (log time passed a deadline, or another message was the first to
    /// ask). Below stands what it taught, and the transitions, charges, actions and alerts that came
    /// of it. The raw log is read from the message's first record on; exit code 1 if the time was
    /// over before its end, 3 if there is no such message.
    Explain(Explain),
    /// Find messages by a trace id of Meta's or by labels.
    Find {
        #[command(subcommand)]
        what: Find,
    },
    /// List messages of a number, or templates, accounts or numbers: all, or those in a state.
    ///
    /// A pause or a restriction that ended by itself counts as ended. `tickfold get` shows one of
    /// them with its history.
    List {
        #[command(subcommand)]
        what: List,
    },
    /// Watch something change: states as they are and become, or records as they come.
    ///
    /// A state is printed when it changes, the newest one each time; transitions, actions and alerts are
    /// printed each, in the order of their account. A node that goes away is waited for, and the
    /// watch goes on where it was. With --resume-token-file it also goes on after it was killed itself;
    /// its last line may come twice then. JSON lines are {message|conversation|number|account|
    /// transition|action|alert|missing|mark, skipped_revisions, resume_token}.
    Watch {
        #[command(subcommand)]
        what: Watch,
    },
    /// Print records of a topic.
    ///
    /// JSON lines are {partition, offset, timestamp, key, headers, value}; `value` is the JSON of
    /// the record, `value_base64` the bytes of anything else, null a tombstone.
    Tail(Tail),
    /// List the topics of a running node; or check or create those on Kafka, where none needs to run.
    ///
    /// --check prints each setting that the configuration wants beside the one found, and what to do
    /// about those that differ. Exit code 0: all is right; 2: a topic is missing or would be refused;
    /// 1: nothing could be said. --create first creates those that are missing; it changes none that
    /// exists.
    Topics(Topics),
    /// Look at what a node needs, without one: secrets, disk, memory, brokers, topics, rights, clock,
    /// open transactions, the handshake.
    ///
    /// Give it the settings and the environment of the node. Each finding is ok, warn, fail or
    /// skipped, with its fix. What can only be known by trying is tried, unless --read-only: a file in
    /// the directories, two ticks appended to raw, a commit that is aborted. Exit code 1 if anything
    /// fails.
    Doctor(Box<Doctor>),
    /// Checkpoints: copies of the state, from which a start folds on. List, make, verify, restore.
    ///
    /// They lie in `store.checkpoint_dir`. A node makes them by itself every
    /// `processor.checkpoint_interval`, and restores one where its state is gone.
    Checkpoint {
        #[command(subcommand)]
        what: Checkpoint,
    },
    /// Show what of the raw log could be deleted, and what holds the rest.
    ///
    /// Of each partition everything below the second-newest checkpoint could go: then a state can be
    /// folded even if the newest is damaged. Nothing is deleted.
    Trim(Trim),
    /// Verify that raw is what was taken in, and the checkpoints what was made of it.
    ///
    /// Of each raw record the signature, by the secret that it names (TICKFOLD_APP_SECRET or the apps
    /// file; one that is no longer active counts for what came while it was), what ingress writes around
    /// a body, and that the body belongs where it is. Of all records together the digest, which is
    /// written down with each commit and each checkpoint: no record can be altered, missing or added
    /// between two of them. Of checkpoints every byte.
    ///
    /// On the embedded log the node has to be stopped; on Kafka it may run. Exit code 0: all is as it was
    /// written; 2: damage was found, and is printed by topic, partition and offset, or as a range where
    /// only the digest shows it; 1: nothing could be said, or not of all of it.
    Verify(Verify),
    /// Show what a start finds of each partition, and get on with one that is refused.
    ///
    /// For a node that is stopped. Without --accept-offset it only looks: exit code 0 if every
    /// partition starts, 2 if one is refused; then it prints each way on with what it loses or repeats.
    /// With --accept-offset and --yes the partitions that are named are started once, at the offset
    /// that is accepted, up to the commit that ends a start: it puts a token beside the position again.
    /// Nothing new is folded or emitted. On Kafka the group must have no members.
    Recover(Recover),
    /// Make and list the tokens by which a node knows its callers (`auth.tokens_file`).
    Token {
        #[command(subcommand)]
        what: Token,
    },
    /// Let a running node read its secrets, verify tokens, callers' tokens and certificates again.
    ///
    /// The same as SIGHUP, but it prints what changed, and what is wrong if something is: then the
    /// node goes on with what it had. Other settings need a restart.
    Reload {
        #[command(flatten)]
        client: Client,
    },
    /// Webhooks that were refused for their signature and kept; off unless
    /// `ingress.quarantine_bytes_max` is set. `tickfold tail wa.webhook.quarantine.v1` lists them.
    Quarantine {
        #[command(subcommand)]
        what: Quarantine,
    },
    /// Dead letters: what of the webhooks could not be folded. List, look, redrive.
    ///
    /// A position `PARTITION@OFFSET` is that of the raw record that came from Meta; it may have several
    /// dead letters, one per broken item. A redrive lets the log repeat the webhook, so that the decoder
    /// of now reads it; what was folded of it before is not told again.
    Dlq {
        #[command(subcommand)]
        what: Dlq,
    },
    /// The rules: what to do on error codes, deadlines and a customer's choices.
    ///
    /// They are in the log, so they hold from their position on, for every replay too. Change them
    /// with `tickfold rules show > rules.json`, an editor that raises the version, `diff`, `apply`.
    Rules {
        #[command(subcommand)]
        what: Rules,
    },
    /// Fold history again into a shadow beside the live state, compare the two, and swap them.
    ///
    /// Without a further word it is `plan`, which only says what would be done. A replay is muted: it has
    /// no outputs, so no action is asked for twice. It runs in the node, beside what the node does, and
    /// goes on where it stopped. A record that is not selected still lets time pass. Each node replays
    /// the partitions that it has, one replay at a time.
    Replay(Box<Replay>),
    /// Send generated, signed webhooks at a fixed rate and judge the answers.
    ///
    /// Open loop: each webhook is sent when its time has come, whether or not earlier ones were
    /// answered, and its latency counts from that time. Needs TICKFOLD_APP_SECRET, or
    /// TICKFOLD_APP_SECRET_FILE, the secret that the node verifies with. Ctrl-C stops sending and
    /// reports what was done.
    ///
    /// Passes by what Meta asks of a receiver: a median of at most 250 ms and less than 1 % of good
    /// webhooks above 1 s. One that was not answered 200 counts as above 1 s, since Meta has to
    /// send it again; so refusals with 503 fail the run only from 1 % on. Any other answer than 200
    /// or 503 to a good webhook, than 401 or 503 to one with a bad signature, or a 503 without
    /// Retry-After, fails it. Exit code 0 if it passes and --verify finds nothing wrong, else 1.
    Load(Box<Load>),
    /// See it work: a node in a temporary directory, a burst of webhooks, kill -9 in the middle of it,
    /// a paused template, a message that cannot be delivered, and counts that have to agree.
    ///
    /// Needs nothing and leaves nothing behind. Exit code 1 if a count does not agree.
    Demo(Demo),
    /// Sign a webhook body from standard input with TICKFOLD_APP_SECRET.
    Sign {
        /// Print only the header's value, `sha256=<hex>`.
        #[arg(long)]
        header: bool,
    },
}

/// Settings that have a flag. Everything else is in the file or the environment.
#[derive(Debug, Default, Args)]
pub(crate) struct Settings {
    /// Configuration file (TOML); see `tickfold config --defaults`.
    #[arg(long, value_name = "FILE", env = "TICKFOLD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directory of log and state.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Keep the log on Kafka instead of in the data directory; its settings are in the section `kafka`.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Listener of webhooks [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    pub http_addr: Option<SocketAddr>,
    /// Take plain HTTP from a proxy that ends TLS: only from `ingress.trusted_proxies`.
    #[arg(long)]
    pub behind_proxy: bool,
    /// Listener of gRPC [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDR")]
    pub grpc_addr: Option<SocketAddr>,
    /// Listener of /livez /readyz /metrics /statusz /configz [default: 127.0.0.1:9464].
    #[arg(long, value_name = "ADDR")]
    pub admin_addr: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Get {
    /// A message: state, times, errors, participants, charge, actions, labels, history.
    Message {
        /// Message id.
        wamid: String,
        /// How much to show.
        #[arg(long, value_enum, default_value_t = View::History)]
        view: View,
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        client: Client,
    },
    /// A conversation: its windows and counts, and its newest messages.
    Conversation {
        /// Id of our number.
        phone_number_id: String,
        /// The other side, by any identifier that webhooks name it by.
        party: String,
        /// How many of its newest messages to show.
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=1_000))]
        messages: i32,
        /// How much to show of each message.
        #[arg(long, value_enum, default_value_t = View::Full)]
        view: View,
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        client: Client,
    },
    /// A user of an account: identifiers, preferences, profile.
    User {
        /// Account.
        waba_id: String,
        /// Any identifier of the user: phone number or business-scoped user id.
        party: String,
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        client: Client,
    },
    /// A template: status, quality, category, what is halted, events and history.
    Template {
        /// Account.
        waba_id: String,
        /// Template id.
        template_id: String,
        /// Language, such as en_US.
        language: String,
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        client: Client,
    },
    /// An account: state, restrictions, limits, numbers, events, totals of charges, history.
    Account {
        /// Account.
        waba_id: String,
        /// Only totals of this month, such as 2026-11.
        #[arg(long, value_name = "MONTH")]
        month: Option<String>,
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        client: Client,
    },
    /// A business phone number: state, limit, name, security, restrictions, history.
    Number {
        /// Id of the number.
        phone_number_id: String,
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        client: Client,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Message id.
    pub wamid: String,
    /// How much to show; basic leaves out personal data.
    #[arg(long, value_enum, default_value_t = View::Full)]
    pub view: View,
    /// Stop after so many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    #[command(flatten)]
    pub at: At,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Find {
    /// Messages that a `fbtrace_id` came with, which Meta's support asks for.
    Fbtrace {
        /// The trace id.
        id: String,
        #[command(flatten)]
        search: Search,
    },
    /// Messages with labels, the newest first: what the sender wrote into biz_opaque_callback_data.
    Label {
        /// template=…, language=…, campaign=… or intent=…; of several, messages that have all.
        #[arg(required = true, value_name = "NAME=VALUE")]
        labels: Vec<String>,
        #[command(flatten)]
        search: Search,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum List {
    /// Messages of a number, or of one conversation of it, the newest first.
    Messages {
        /// Business phone number id.
        #[arg(long, value_name = "PHONE_NUMBER_ID")]
        number: String,
        /// Only messages with this party, as Meta writes it.
        #[arg(long)]
        party: Option<String>,
        #[command(flatten)]
        search: Search,
    },
    /// Templates, by account, id and language.
    Templates {
        /// Only templates of this account.
        #[arg(long = "account", value_name = "WABA_ID")]
        waba_id: Option<String>,
        /// Only those of this status, such as PAUSED or REJECTED.
        #[arg(long)]
        status: Option<String>,
        /// Only those of this quality, such as RED.
        #[arg(long)]
        quality: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Accounts, by id.
    Accounts {
        /// Only those in this state: active, restricted, scheduled_for_disable, disconnected,
        /// disabled, offboarded or deleted.
        #[arg(long)]
        state: Option<String>,
        /// Only those on which this restriction is in force.
        #[arg(long, value_name = "TYPE")]
        restriction: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Business phone numbers, by id.
    Numbers {
        /// Only numbers of this account.
        #[arg(long = "account", value_name = "WABA_ID")]
        waba_id: Option<String>,
        /// Only those in this state: active, flagged or restricted.
        #[arg(long)]
        state: Option<String>,
        /// Only those whose newest quality event is this, such as FLAGGED or DOWNGRADE.
        #[arg(long, value_name = "EVENT")]
        quality_event: Option<String>,
        /// Only those on which this restriction is in force.
        #[arg(long, value_name = "TYPE")]
        restriction: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// Only those that meet it, such as 'status = PAUSED'; docs/api.md has the grammar.
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Stop after so many.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Go on where an earlier list stopped; all else as it was then.
    #[arg(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Only messages that meet it, such as 'state = FAILED AND error_code = 131026'; docs/api.md has the
    /// grammar.
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Only messages from this time on, such as 2026-11-20T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only messages before this time.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Stop after so many messages.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Go on where an earlier search stopped; all else as it was then.
    #[arg(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
    /// How much to show of each message.
    #[arg(long, value_enum, default_value_t = View::Full)]
    pub view: View,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// Take the webhooks that a secret verifies into the raw topic; the others stay.
    Accept {
        /// App whose webhooks they are.
        #[arg(long, default_value = tickfold_ingress::DEFAULT_APP)]
        app: String,
        /// Id of the secret, which the node must serve already: `tickfold reload` after adding it.
        #[arg(long, value_name = "ID")]
        secret_id: String,
        #[command(flatten)]
        client: Client,
    },
    /// Delete all of them.
    Discard {
        #[command(flatten)]
        client: Client,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// List dead letters, the newest first: of each position what its newest redrive left.
    ///
    /// Without personal data. The state is open, failed_again (a redrive left it), or, with --all,
    /// redriven and superseded (a later redrive took its place, and left none or some).
    Ls {
        #[command(flatten)]
        filter: DeadLetterFilter,
        /// Also those that a later redrive took the place of.
        #[arg(long)]
        all: bool,
        /// The oldest first.
        #[arg(long)]
        oldest_first: bool,
        /// Stop after so many.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        client: Client,
    },
    /// Show the dead letters of a position, its redrives, and the raw record behind it.
    ///
    /// Exit code 3 if it has none.
    Show {
        /// PARTITION@OFFSET of the webhook, or of a redrive of it.
        #[arg(value_parser = position)]
        position: Position,
        /// Also the broken text and the body. Personal data.
        #[arg(long)]
        raw: bool,
        #[command(flatten)]
        client: Client,
    },
    /// Fold webhooks that have dead letters once more, as if they came again now.
    ///
    /// Without --yes it only says what would be done. Each body is verified again first, by any secret
    /// of its app that the node serves; only a node that takes webhooks has them. Exit code 0: all that
    /// was redriven left nothing, or is not folded yet; 2: some left dead letters again; 1: some were
    /// refused.
    Redrive {
        /// PARTITION@OFFSET of webhooks, at most 100.
        #[arg(value_name = "POSITION", value_parser = position, required_unless_present = "reason", conflicts_with_all = ["since", "from_offset", "partitions", "reason", "field", "waba"])]
        positions: Vec<Position>,
        #[command(flatten)]
        filter: DeadLetterFilter,
        /// With --reason: how many positions, at most 100; the oldest first.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// With --reason: also what a redrive left. Without: also where a redrive left nothing.
        #[arg(long)]
        again: bool,
        /// Trust what came with this secret, which is gone, and no other verifies; may be given several
        /// times.
        #[arg(long = "retired-secret", value_name = "ID")]
        retired_secret_ids: Vec<String>,
        /// Do it.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        client: Client,
    },
}

/// Which dead letters; all that is given has to hold.
#[derive(Debug, Args)]
pub(crate) struct DeadLetterFilter {
    /// Folded at or after this time, such as 2026-11-20T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Of raw records at or above this offset.
    #[arg(long, value_name = "OFFSET")]
    pub from_offset: Option<u64>,
    /// Only these partitions; may be given several times.
    #[arg(long = "partition", value_name = "N")]
    pub partitions: Vec<u32>,
    /// With this reason, such as not_json.
    #[arg(long)]
    pub reason: Option<String>,
    /// Of this webhook field, such as messages.
    #[arg(long)]
    pub field: Option<String>,
    /// Of this account.
    #[arg(long, value_name = "WABA_ID")]
    pub waba: Option<String>,
}

/// A place in the raw topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub partition: u32,
    pub offset: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Print the rules in force: the newest that a partition has, and which partitions have it.
    Show {
        /// Print the built-in table instead; needs no node.
        #[arg(long)]
        built_in: bool,
        #[command(flatten)]
        client: Client,
    },
    /// Print what a file would change. Exit code 1 if it would change anything.
    Diff {
        /// The rules, in JSON (.json) or TOML (.toml).
        file: PathBuf,
        #[command(flatten)]
        client: Client,
    },
    /// Append the rules of a file to every partition that does not have them.
    ///
    /// Their version must be above that of the rules in force. If it fails half-way, the same
    /// command again reaches the rest.
    Apply {
        /// The rules, in JSON (.json) or TOML (.toml).
        file: PathBuf,
        #[command(flatten)]
        client: Client,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Replay {
    #[command(subcommand)]
    pub what: Option<ReplayCommand>,
    #[command(flatten)]
    pub plan: ReplayPlan,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayPlan {
    #[command(flatten)]
    pub scope: ReplayScope,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// Print records, bytes and an estimate of the time, by folding a sample in memory. The default.
    Plan(ReplayPlan),
    /// Begin a replay, or go on with the one that there is, and follow it to its end.
    ///
    /// Ctrl-C stops following; the replay goes on in the node. One that stopped goes on with the same
    /// arguments, or none. Exit code 0 at its end, 1 if it failed or was stopped.
    Run {
        #[command(flatten)]
        scope: ReplayScope,
        /// Fold so many records a second at most [default: as many as one thread can].
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Do not follow it.
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        client: Client,
    },
    /// Print how far the replay is, and which states there are. Exit code 3 if there is nothing to tell.
    Status {
        #[command(flatten)]
        client: Client,
    },
    /// Let the replay stop; `run` goes on with it.
    Stop {
        #[command(flatten)]
        client: Client,
    },
    /// Compare the shadow with the live state at one position, kind by kind.
    ///
    /// The shadow is folded on to where the live state is. A replay that ends at an offset or a time is
    /// compared with what the log itself gives there. Of a part of the history it is not told what only
    /// the live state has. Samples have ids, which are personal data. Exit code 0 without a difference,
    /// 2 with one, 3 if there is no replay.
    Diff {
        /// Differences told per partition and kind.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        samples: u32,
        #[command(flatten)]
        client: Client,
    },
    /// Make the shadow the live state, and keep the state that was.
    ///
    /// Only a replay of everything, by the rules in the log, without an end. One partition after the
    /// other stands still between two commits; queries are answered. Table rows that differ are published,
    /// and nothing else: no action twice. What ended half-way left each partition in the one state or the
    /// other, and the same command goes on. Exit code 3 if there is no replay.
    Swap {
        /// Most table rows of one partition that may differ, up to 1,048,576. They are one commit, and in the
        /// node's memory until it is done. On Kafka that has to be within a minute; the embedded log takes no
        /// webhooks while it writes them.
        #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
        rows_max: u32,
        #[command(flatten)]
        client: Client,
    },
    /// Make the state live again that the last swap has kept, and keep the one that was live.
    ///
    /// It is folded on to where the live state is, and swapped in just the same way. Exit code 3 if none is
    /// kept.
    Rollback {
        /// As of `swap`.
        #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
        rows_max: u32,
        #[command(flatten)]
        client: Client,
    },
    /// Delete the replay and its shadow; where there is none, the state that a swap has kept.
    Discard {
        #[command(flatten)]
        client: Client,
    },
}

/// What is replayed; nothing given is everything. --from and --to are of the raw log: from there, and
/// up to there, not where a group's offset is moved to.
#[derive(Debug, Args)]
pub(crate) struct ReplayScope {
    /// Only these partitions, such as 0,3,7.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub partitions: Vec<u32>,
    /// Begin on nothing with this offset.
    #[arg(long, value_name = "OFFSET", group = "from")]
    pub from_offset: Option<u64>,
    /// Begin on nothing with what was appended at this time, such as 2026-11-20T00:00:00Z.
    #[arg(long, value_name = "TIME", group = "from")]
    pub from_datetime: Option<String>,
    /// Begin on nothing so long ago, such as 2h or PT2H.
    #[arg(long, value_name = "DURATION", value_parser = duration, group = "from")]
    pub by_duration: Option<Duration>,
    /// Partitions and their offsets, one a line: PARTITION,FROM or PARTITION,FROM,TO, or
    /// TOPIC,PARTITION,FROM as kafka-consumer-groups exports them.
    #[arg(long, value_name = "FILE", group = "from", conflicts_with_all = ["to", "partitions"])]
    pub from_file: Option<PathBuf>,
    /// End before this offset.
    #[arg(long, value_name = "OFFSET", group = "to")]
    pub to_offset: Option<u64>,
    /// End before what was appended at this time.
    #[arg(long, value_name = "TIME", group = "to")]
    pub to_datetime: Option<String>,
    /// Only records that name this account; may be given several times.
    #[arg(long = "waba", value_name = "WABA_ID")]
    pub wabas: Vec<String>,
    /// Only records that name this business phone number; may be given several times.
    #[arg(long = "number", value_name = "PHONE_NUMBER_ID")]
    pub numbers: Vec<String>,
    /// Only records that name this message; may be given several times.
    #[arg(long = "wamid", value_name = "WAMID")]
    pub wamids: Vec<String>,
    /// Fold by these rules, in JSON (.json) or TOML (.toml), instead of those in the log.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
}

impl ReplayScope {
    /// True if nothing is given.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { partitions, from_offset, from_datetime, by_duration, from_file, .. } = self;
        let Self { to_offset, to_datetime, wabas, numbers, wamids, rules, .. } = self;
        partitions.is_empty()
            && from_offset.is_none()
            && from_datetime.is_none()
            && by_duration.is_none()
            && from_file.is_none()
            && to_offset.is_none()
            && to_datetime.is_none()
            && [wabas, numbers, wamids].iter().all(|ids| ids.is_empty())
            && rules.is_none()
    }
}

/// A moment of the log: an offset, PARTITION@OFFSET, or a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moment {
    Offset(u64),
    Position { partition: u32, offset: u64 },
    Time(tickfold_core::time::Timestamp),
}

#[derive(Debug, Args)]
pub(crate) struct At {
    /// Show the state of then: of an offset, of PARTITION@OFFSET, or of a time such as
    /// 2026-11-20T00:00:00Z. It is folded again from the nearest checkpoint, which may take a while:
    /// --timeout says how long, and the same command again goes on.
    #[arg(long, value_name = "OFFSET|TIME", value_parser = moment)]
    pub at: Option<Moment>,
    /// Wait until these places of the raw log are folded, or until --timeout: as the answer to a webhook
    /// names them in its header tickfold-positions.
    #[arg(long, value_name = "PARTITION:OFFSET,…", value_delimiter = ',', value_parser = place)]
    pub min_position: Vec<Position>,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Leave the consumer group first, so that others take its partitions over at once. Without it
    /// they wait for it to come back until the session timeout has passed.
    #[arg(long)]
    pub leave: bool,
    /// Give up waiting for the end after this time; the node stops all the same.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub wait: Duration,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Topics {
    /// Compare the topics on Kafka with what the configuration wants.
    #[arg(long)]
    pub check: bool,
    /// Create those that are missing, then compare.
    #[arg(long)]
    pub create: bool,
    /// Configuration file (TOML) of the nodes, for --check and --create.
    #[arg(long, value_name = "FILE", env = "TICKFOLD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Brokers, for --check and --create.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    #[command(flatten)]
    pub client: Client,
}

/// What every command has that works on the data of a stopped node.
#[derive(Debug, Args)]
pub(crate) struct AtRest {
    /// Configuration file (TOML) of the node.
    #[arg(long, value_name = "FILE", env = "TICKFOLD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directory of log and state.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Brokers, where the log is on Kafka.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Checkpoint {
    /// List them, the newest first.
    Ls {
        /// Only of these partitions; may be given several times.
        #[arg(long = "partition", value_name = "N")]
        partitions: Vec<u32>,
        #[command(flatten)]
        at: AtRest,
    },
    /// Have a running node make one of each partition that is live there.
    Create {
        /// Only of these partitions; may be given several times.
        #[arg(long = "partition", value_name = "N")]
        partitions: Vec<u32>,
        #[command(flatten)]
        client: Client,
    },
    /// Read every byte of them and compare it with the sums that were made with them.
    ///
    /// Needs no node and may run beside one. Exit code 0: all are whole; 2: damage was found, and is
    /// printed by file and bytes; 1: nothing could be said.
    Verify {
        /// Only of these partitions; may be given several times.
        #[arg(long = "partition", value_name = "N")]
        partitions: Vec<u32>,
        #[command(flatten)]
        at: AtRest,
    },
    /// Make one the state of a partition, whose node is stopped. Every byte is verified first.
    Restore {
        /// The partition.
        #[arg(long, value_name = "N")]
        partition: u32,
        /// Which one, by its cursor; without it the newest.
        #[arg(long, value_name = "OFFSET")]
        cursor: Option<u64>,
        /// Set the state that is there aside, under another name.
        #[arg(long)]
        discard: bool,
        #[command(flatten)]
        at: AtRest,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Begin at this offset, or with what was appended from this time on, such as 2026-11-20T00:00:00Z.
    #[arg(long, value_name = "OFFSET|TIME")]
    pub from: Option<String>,
    /// Stop before this offset, or before what was appended from this time on.
    #[arg(long, value_name = "OFFSET|TIME")]
    pub to: Option<String>,
    /// Only these partitions, separated by commas.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub partitions: Vec<u32>,
    /// Also fold raw once more, in a directory of its own, and compare it with the digest of each
    /// checkpoint and of the commit; and sum the rows of each checkpoint.
    #[arg(long)]
    pub state: bool,
    /// Count what came with this secret, which is gone, as unverified and not as damage; may be given
    /// several times.
    #[arg(long = "retired-secret", value_name = "ID")]
    pub retired_secret_ids: Vec<String>,
    #[command(flatten)]
    pub at: AtRest,
}

#[derive(Debug, Args)]
pub(crate) struct Trim {
    /// Only show.
    #[arg(long, required = true)]
    pub plan: bool,
    /// Records younger than this are to be kept as well, such as 720h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub keep: Option<Duration>,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Only these partitions; may be given several times. Needed to accept an offset.
    #[arg(long = "partition", value_name = "N")]
    pub partitions: Vec<u32>,
    /// Go on from this offset: all below counts as emitted. Without OFFSET, from where the group stands.
    #[arg(long, value_name = "OFFSET", requires = "partitions")]
    pub accept_offset: Option<Option<u64>>,
    /// Fold the state from what raw has, without the store and the checkpoints that are there; the store
    /// is set aside.
    #[arg(long, requires = "accept_offset")]
    pub fold_anew: bool,
    /// Do it.
    #[arg(long, requires = "accept_offset")]
    pub yes: bool,
    #[command(flatten)]
    pub at: AtRest,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// What the node is to be; looked at is what that needs.
    #[arg(long, value_enum, default_value_t = Role::Up)]
    pub role: Role,
    /// Public URL of the webhook, such as `https://example.com/webhook/main`, for the handshake.
    #[arg(long)]
    pub url: Option<String>,
    /// Certificate authorities (PEM) that may vouch for it [default: those of the system].
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Write nothing, and leave out what can only be known by writing: rights and clock.
    #[arg(long)]
    pub read_only: bool,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The same as --output json.
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
    /// Give each question to others up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout: u64,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Watch {
    /// Up to 1,000 messages.
    Message {
        /// Message ids.
        #[arg(required = true, value_name = "WAMID")]
        wamids: Vec<String>,
        /// How much to show.
        #[arg(long, value_enum, default_value_t = View::Basic)]
        view: View,
        #[command(flatten)]
        following: Following,
    },
    /// A conversation.
    Conversation {
        /// Business phone number id.
        phone_number_id: String,
        /// The user's id, any that it has.
        party: String,
        #[command(flatten)]
        following: Following,
    },
    /// A business phone number.
    Number {
        /// Business phone number id.
        phone_number_id: String,
        #[command(flatten)]
        following: Following,
    },
    /// An account, with its totals of charges.
    Account {
        /// WABA id.
        waba_id: String,
        #[command(flatten)]
        following: Following,
    },
    /// Every new fact of an account or of all.
    Transitions(Records),
    /// Everything that is to be done, each once.
    Actions(Records),
    /// Everything that a person should look at.
    Alerts(Records),
}

impl Watch {
    pub(crate) fn following(&self) -> &Following {
        match self {
            Self::Message { following, .. }
            | Self::Conversation { following, .. }
            | Self::Number { following, .. }
            | Self::Account { following, .. } => following,
            Self::Transitions(records) | Self::Actions(records) | Self::Alerts(records) => {
                &records.following
            }
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Records {
    /// Only those of this account.
    #[arg(long, value_name = "WABA_ID")]
    pub waba: Option<String>,
    /// How much to show; full and history are the same.
    #[arg(long, value_enum, default_value_t = View::Basic)]
    pub view: View,
    /// Begin with the oldest record that there is, unless the file of the token has a place.
    #[arg(long)]
    pub from_beginning: bool,
    #[command(flatten)]
    pub following: Following,
}

/// What every watch has.
#[derive(Debug, Args)]
pub(crate) struct Following {
    /// Keep the place in this file, and begin where it says.
    #[arg(long, value_name = "FILE")]
    pub resume_token_file: Option<PathBuf>,
    /// Stop after so many states or records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Stop once everything was told that was there at the beginning.
    #[arg(long)]
    pub until_caught_up: bool,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Full topic name, such as wa.transition.v1.
    pub topic: String,
    /// Begin with the oldest record instead of the next one.
    #[arg(long)]
    pub from_beginning: bool,
    /// Stop at the end as it is now instead of waiting for more.
    #[arg(long)]
    pub until_end: bool,
    /// Only these partitions; may be given several times.
    #[arg(long = "partition", value_name = "N")]
    pub partitions: Vec<u32>,
    /// Stop after so many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    #[command(flatten)]
    pub client: Client,
}

/// A share from 0 to 1 is of the webhooks, if not said otherwise.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Where to POST; https needs --tls-ca.
    #[arg(long, default_value = "http://127.0.0.1:8080/webhook/main", env = "TICKFOLD_LOAD_URL")]
    pub url: String,
    /// Certificate authorities (PEM) that may vouch for an https server.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Webhooks per second, before any burst.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// How long to send, such as 30s or 5m.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub duration: Duration,
    /// Multiply the rate by this during a burst; 1 is no burst.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub burst: f64,
    /// When the burst begins.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub burst_after: Duration,
    /// How long the burst lasts.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub burst_for: Duration,
    /// Seed of the traffic [default: another one each time, which the report names]. A seed that
    /// the node has seen before sends it messages that it already knows.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Accounts that the traffic is about, in number.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub wabas: u32,
    /// Share that carries an inbound message instead of statuses.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub inbound: f64,
    /// Share that carries a template event instead of statuses.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub templates: f64,
    /// Share of webhooks with statuses that carries 2 to 100 of them instead of one.
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub batches: f64,
    /// Share that repeats earlier ones: half the same body, half the same facts in another one.
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    pub duplicates: f64,
    /// Share of messages whose statuses come in any order.
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    pub disorder: f64,
    /// Share with a signature that is missing, malformed or wrong.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub bad_signatures: f64,
    /// Most connections at once, in number. When all are busy a webhook waits, and its wait counts
    /// in its latency.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub connections: u32,
    /// Give a webhook up so long after its time.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub request_timeout: Duration,
    /// Afterwards ask the node over gRPC whether every accepted fact is in its state exactly once,
    /// and nothing that nobody sent.
    #[arg(long)]
    pub verify: bool,
    /// How long --verify waits for the node to have folded everything.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub verify_timeout: Duration,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Webhooks per second of the burst.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// How long the burst lasts, in whole seconds.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
}

/// `PARTITION@OFFSET`, or `PARTITION-OFFSET` as derived records have it.
fn position(text: &str) -> Result<Position, String> {
    let read = tickfold_core::raw::parse_position(&text.replacen('@', "-", 1));
    let (partition, offset) =
        read.ok_or_else(|| "is not PARTITION@OFFSET, such as 3@42".to_owned())?;
    Ok(Position { partition, offset })
}

/// A place as the header of an answer has it.
fn place(text: &str) -> Result<Position, String> {
    let odd = || "is no PARTITION:OFFSET such as 3:42".to_owned();
    let (partition, offset) = text.split_once(':').ok_or_else(odd)?;
    match (partition.parse(), offset.parse()) {
        (Ok(partition), Ok(offset)) => Ok(Position { partition, offset }),
        _ => Err(odd()),
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(offset) = text.parse() {
        return Ok(Moment::Offset(offset));
    }
    if let Ok(Position { partition, offset }) = position(text) {
        return Ok(Moment::Position { partition, offset });
    }
    let time = tickfold_core::time::Timestamp::parse_rfc3339(text).map(Moment::Time);
    time.ok_or_else(|| {
        "is no offset, no PARTITION@OFFSET such as 3@42, and no time such as 2026-11-20T00:00:00Z"
            .to_owned()
    })
}

/// Up to a year, so that no sum of some leaves the clock.
fn duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(365 * 24 * 3_600);
    let span: Result<jiff::SignedDuration, _> = text.parse();
    let duration = span.ok().and_then(|span| Duration::try_from(span).ok());
    let duration = duration.filter(|duration| *duration <= MAX);
    duration.ok_or_else(|| "not a duration such as 5s, of a year at most".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token: it is printed once, its entry for the tokens file has its hash only.
    ///
    /// Scopes: `query` asks for state without personal data; `pii.read` is told personal data too;
    /// `admin` does everything of the admin services; `node` is another node of the system. With
    /// --client-name the caller is known by its certificate, and no token is made.
    Create(TokenCreate),
    /// Check a tokens file and list its entries.
    Ls {
        /// The tokens file.
        #[arg(long, value_name = "FILE", env = "TICKFOLD_AUTH_TOKENS_FILE")]
        file: PathBuf,
        /// Form of the output.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// Name of the caller in logs.
    #[arg(long)]
    pub name: String,
    /// What it may: query, pii.read, admin, node; several with commas.
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', required = true)]
    pub scopes: Vec<String>,
    /// Account that it may ask of; several with commas, or again.
    #[arg(
        long = "waba",
        value_name = "ID",
        value_delimiter = ',',
        required_unless_present = "all_wabas"
    )]
    pub wabas: Vec<String>,
    /// It may ask of every account, those that come later too.
    #[arg(long, conflicts_with = "wabas")]
    pub all_wabas: bool,
    /// From when on it may nothing more, e.g. 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
    /// Know the caller by this DNS name of its client certificate instead of by a token.
    #[arg(long, value_name = "NAME")]
    pub client_name: Option<String>,
    /// Calls and streams that it may have open at once on a node.
    #[arg(long, value_name = "N")]
    pub calls_max: Option<usize>,
    /// Append the entry to this tokens file instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub append: Option<PathBuf>,
}

/// How a command shows a node who it is, and knows the node.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Credentials {
    /// File with the token to show; it may also be in TICKFOLD_TOKEN, or in the file that
    /// TICKFOLD_TOKEN_FILE names.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Speak TLS, and trust these authorities (PEM).
    #[arg(long, value_name = "FILE", env = "TICKFOLD_CA")]
    pub ca: Option<PathBuf>,
    /// Certificate to show (PEM).
    #[arg(long, value_name = "FILE", env = "TICKFOLD_CERT", requires = "ca", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Key of the certificate (PEM).
    #[arg(long, value_name = "FILE", env = "TICKFOLD_KEY", requires = "cert")]
    pub key: Option<PathBuf>,
    /// DNS name that the node's certificate is for; the address unless given.
    #[arg(long, value_name = "NAME", env = "TICKFOLD_SERVER_NAME", requires = "ca")]
    pub server_name: Option<String>,
}

/// What every command that asks a running node has.
#[derive(Debug, Args)]
pub(crate) struct Client {
    /// gRPC address of the node.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:50051",
        env = "TICKFOLD_GRPC_ADDR"
    )]
    pub grpc_addr: SocketAddr,
    #[command(flatten)]
    pub credentials: Credentials,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Give up after so many seconds; `tail` and `watch` only apply it to connecting, `load` to each question
    /// of --verify.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For reading.
    Table,
    /// One indented JSON document.
    Json,
    /// One JSON document per line.
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum View {
    /// Without personal data beside the id.
    Basic,
    /// With parties, texts of errors, callback data.
    Full,
    /// Full, with each transition.
    History,
}
