//! The table `cause → answer`: each failure is really made, each answer looked at from outside, and
//! after it what the raw topic holds. Every cause has an ingress of its own; all go at once, since
//! some take seconds.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{FutureExt, LocalBoxFuture, join_all};
use tickfold_ingress::IngressOptions;

use crate::server::{Server, body, post};
use crate::wire::Answer;
use crate::{STATUSES, failures, requests};

/// A cause with its answer.
pub(crate) struct Row {
    cause: &'static str,
    expected: u16,
    /// `None` if the connection was closed without one.
    answer: Option<Answer>,
    /// How the test knows that the failure really happened.
    proof: String,
    /// Records of the raw topic when the answer arrived, and when nothing was under way any more.
    raw: (usize, usize),
    expected_raw: (usize, usize),
}

pub(crate) type Case = LocalBoxFuture<'static, Row>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cause_has_its_answer() {
    let cases = failures::cases().into_iter().chain(requests::cases());
    let rows = join_all(cases).await;
    println!("| cause | status | headers | ms | raw then, at the end | proof |");
    println!("|---|---|---|---|---|---|");
    for row in &rows {
        println!("{}", row.line());
    }
    rows.iter().for_each(Row::check);
    let seen: BTreeSet<u16> =
        rows.iter().filter_map(|row| Some(row.answer.as_ref()?.status)).collect();
    assert_eq!(seen, BTreeSet::from(STATUSES), "the table shows every status there is");
}

impl Row {
    fn line(&self) -> String {
        let (status, headers, took) = match &self.answer {
            None => ("closed".to_owned(), String::new(), Duration::ZERO),
            Some(answer) => {
                let of = |name: &str| Some(format!("{name}: {}", answer.header(name)?));
                let shown = ["retry-after", "allow", "connection", "content-type"];
                let headers = shown.into_iter().filter_map(of).collect::<Vec<_>>().join(", ");
                (answer.status.to_string(), headers, answer.took)
            }
        };
        let (cause, proof, ms) = (self.cause, &self.proof, took.as_millis());
        let (then, end) = self.raw;
        format!("| {cause} | {status} | {headers} | {ms} | {then}, {end} | {proof} |")
    }

    fn check(&self) {
        let cause = self.cause;
        let status = self.answer.as_ref().map_or(0, |answer| answer.status);
        assert_eq!(status, self.expected, "{cause}");
        assert_eq!(self.raw, self.expected_raw, "{cause}: records then, and at the end");
        let Some(answer) = &self.answer else { return };
        let retry = (status == 503).then_some("1");
        assert_eq!(answer.header("retry-after"), retry, "{cause}");
        // Whatever is answered 200 is told where it stands.
        let positions = answer.header("tickfold-positions");
        assert_eq!(positions.is_some(), status == 200 && cause != "handshake", "{cause}");
        let allow = (status == 405).then_some("GET, POST");
        assert_eq!(answer.header("allow"), allow, "{cause}");
        let challenge: &[u8] = if cause == "handshake" { b"4711" } else { b"" };
        assert_eq!(answer.body, challenge, "{cause}");
        // 3 s, and what a busy machine adds to it.
        assert!(answer.took < Duration::from_secs(4), "{cause}: {:?}", answer.took);
    }
}

/// Ends the ingress and makes the row.
pub(crate) async fn row(
    cause: &'static str,
    expected: u16,
    expected_raw: (usize, usize),
    server: Server,
    answer: Option<Answer>,
    proof: String,
) -> Row {
    let then = server.raw().len();
    server.log.hold_appends(false);
    let end = server.stop().await.len();
    Row { cause, expected, answer, proof, raw: (then, end), expected_raw }
}

/// Bytes to an ingress in which nothing is wrong; afterwards it still takes a webhook.
pub(crate) fn sent(cause: &'static str, expected: u16, request: Vec<u8>) -> Case {
    async move {
        let server = Server::start(IngressOptions::default());
        let mut wire = server.connect().await;
        let answer = wire.exchange(&request).await;
        let proof = match expected {
            401 => format!("{} signature failure", server.signature_failures()),
            _ => format!("{} bytes sent", request.len()),
        };
        let accepted = usize::from(expected == 200 && request.starts_with(b"POST"));
        let then = server.raw().len();
        let alive = server.connect().await.exchange(&post(body("alive").as_bytes())).await;
        assert_eq!(alive.map(|answer| answer.status), Some(200), "{cause}: alive afterwards");
        let mut row = row(cause, expected, (accepted, accepted + 1), server, answer, proof).await;
        row.raw.0 = then;
        assert!(expected != 401 || row.proof.starts_with('1'), "{cause}: {}", row.proof);
        row
    }
    .boxed_local()
}
