//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Print records of a topic.
    ///
    /// JSON lines are {partition, offset, timestamp, key, headers, value}; `value` is the JSON of
    /// the record, `value_base64` the bytes of anything else, null a tombstone.
    Tail(Tail),
    /// List the topics of a running node.
    Topics {
        #[command(flatten)]
        client: Client,
    },
    /// Let a running node read its secrets, verify tokens and certificates again.
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
    /// Sign a webhook body from standard input with TICKFOLD_APP_SECRET.
    Sign {
        /// Print only the header's value, `sha256=<hex>`.
        #[arg(long)]
        header: bool,
    },
}

/// Settings that have a flag. Everything else is in the file or the environment.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Configuration file (TOML); see `tickfold config --defaults`.
    #[arg(long, value_name = "FILE", env = "TICKFOLD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directory of log and state.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Listener of webhooks [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    pub http_addr: Option<SocketAddr>,
    /// Take plain HTTP from a proxy that ends TLS: only from `ingress.trusted_proxies`.
    #[arg(long)]
    pub behind_proxy: bool,
    /// Listener of gRPC [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDR")]
    pub grpc_addr: Option<SocketAddr>,
    /// Listener of /livez /readyz /metrics /statusz [default: 127.0.0.1:9464].
    #[arg(long, value_name = "ADDR")]
    pub admin_addr: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Get {
    /// A message: state, times, errors, history.
    Message {
        /// Message id.
        wamid: String,
        /// How much to show.
        #[arg(long, value_enum, default_value_t = View::History)]
        view: View,
        #[command(flatten)]
        client: Client,
    },
    /// A conversation: its window and counts.
    Conversation {
        /// Id of our number.
        phone_number_id: String,
        /// The other side, as webhooks name it.
        party: String,
        #[command(flatten)]
        client: Client,
    },
    /// A template: its status and events.
    Template {
        /// Account.
        waba_id: String,
        /// Template id.
        template_id: String,
        /// Language, such as en_US.
        language: String,
        #[command(flatten)]
        client: Client,
    },
    /// An account: its state and events.
    Account {
        /// Account.
        waba_id: String,
        #[command(flatten)]
        client: Client,
    },
    /// A business phone number.
    Number {
        /// Id of the number.
        phone_number_id: String,
        #[command(flatten)]
        client: Client,
    },
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
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Give up after so many seconds; `tail` only applies it to connecting.
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
