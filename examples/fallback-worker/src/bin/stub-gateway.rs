//! A gateway to try the worker on: sends nothing, and writes a line per request that it took.
//!
//! It keeps to what the worker needs of a real one: a request with a key it has seen is answered as
//! the first one was, and nothing is sent again. It knows its keys over a restart, since its log is
//! their memory.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};

/// An SMS gateway that sends nothing: POST /sms with an idempotency-key.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8090")]
    addr: SocketAddr,
    /// A line of JSON per request: `sent`, or `repeated` for a key that was there.
    #[arg(long)]
    log: PathBuf,
    /// Waits for so long between taking a request and answering it, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

#[derive(Clone)]
struct Gateway {
    log: Arc<Mutex<Log>>,
    delay: Duration,
}

struct Log {
    file: std::fs::File,
    keys: HashSet<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let log = Arc::new(Mutex::new(Log::open(&args.log)?));
    let listener = tokio::net::TcpListener::bind(args.addr).await.context("listen")?;
    say(&format!("stub gateway: {}", listener.local_addr().context("listen")?));
    let gateway = Gateway { log, delay: Duration::from_millis(args.delay_ms) };
    let app = Router::new().route("/sms", post(sms)).with_state(gateway);
    axum::serve(listener, app).await.context("serve")
}

async fn sms(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Json(message): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let (Some(key), Some(to)) = (key, message.get("to").and_then(Value::as_str)) else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "idempotency-key and to"})));
    };
    let taken = gateway.log.lock().unwrap_or_else(PoisonError::into_inner).take(key, to);
    tokio::time::sleep(gateway.delay).await;
    match taken {
        Ok(()) => (StatusCode::OK, Json(json!({"id": key}))),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": error.to_string()}))),
    }
}

impl Log {
    fn open(path: &PathBuf) -> Result<Self> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let keys = lines.filter_map(|line| Some(line.get("key")?.as_str()?.to_owned())).collect();
        let file = std::fs::File::options().create(true).append(true).open(path);
        Ok(Self { file: file.with_context(|| format!("open {}", path.display()))?, keys })
    }

    /// A line, and the key for the next time.
    fn take(&mut self, key: &str, to: &str) -> std::io::Result<()> {
        let what = if self.keys.contains(key) { "repeated" } else { "sent" };
        writeln!(self.file, "{}", json!({"what": what, "key": key, "to": to}))?;
        self.keys.insert(key.to_owned());
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "where it listens")]
fn say(line: &str) {
    println!("{line}");
}
