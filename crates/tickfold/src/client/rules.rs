//! `tickfold rules`: the rules in force, what a file would change, and putting it into force.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tickfold_core::rules::Rules;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::admin::v1::rules_service_client::RulesServiceClient;

use super::{connect, document, failed, print, report, timed};
use crate::cli::{self, Client, Output};

/// Exit code of a comparison that found differences.
const DIFFERS: u8 = 1;

/// Which rules each partition has, and the documents.
#[derive(Serialize)]
struct Active {
    partitions: Vec<OfPartition>,
    documents: Vec<serde_json::Value>,
}

#[derive(Serialize)]
struct OfPartition {
    partition: u32,
    version: u32,
    digest: String,
}

#[derive(Serialize)]
struct Applied {
    version: u32,
    digest: String,
    appended: Vec<u32>,
    current: Vec<u32>,
}

/// `tickfold rules`.
pub(crate) async fn rules(what: cli::Rules) -> Result<ExitCode> {
    match what {
        cli::Rules::Show { built_in: true, client: _ } => {
            print(&(Rules::built_in().pretty() + "\n"));
            Ok(ExitCode::SUCCESS)
        }
        cli::Rules::Show { built_in: false, client } => show(&client).await,
        cli::Rules::Diff { file, client } => diff(&file, &client).await,
        cli::Rules::Apply { file, client } => apply(&file, &client).await,
    }
}

async fn show(client: &Client) -> Result<ExitCode> {
    let reply = active(client).await?;
    match client.output {
        // The document alone, so that it can be edited and applied.
        Output::Table => {
            print(&(newest(&reply)?.pretty() + "\n"));
            report(&summary(&reply));
        }
        Output::Json | Output::Jsonl => {
            let documents = reply.documents.iter().map(|of| serde_json::from_str(&of.json));
            let documents = documents.collect::<Result<_, _>>().context("read the node's rules")?;
            let of_partition = |of: &admin::PartitionRules| OfPartition {
                partition: of.partition,
                version: of.version,
                digest: of.digest.clone(),
            };
            let partitions = reply.partitions.iter().map(of_partition).collect();
            document(client.output, &Active { partitions, documents })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn diff(file: &Path, client: &Client) -> Result<ExitCode> {
    let new = read(file)?;
    let reply = active(client).await?;
    let old = newest(&reply)?;
    let lines = changed_lines(&old.pretty(), &new.pretty());
    print(&lines);
    report(&summary(&reply));
    Ok(if lines.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

async fn apply(file: &Path, client: &Client) -> Result<ExitCode> {
    let rules = read(file)?;
    let json = String::from_utf8(rules.canonical()).context("write the rules as JSON")?;
    let request = timed(client, admin::ApplyRulesRequest { json });
    let reply = service(client).await?.apply_rules(request).await;
    let reply = reply.map_err(|status| failed(&status))?.into_inner();
    let admin::ApplyRulesResponse { version, digest, appended, current } = reply;
    document(client.output, &Applied { version, digest, appended, current })?;
    Ok(ExitCode::SUCCESS)
}

async fn service(client: &Client) -> Result<RulesServiceClient<super::Connection>> {
    Ok(RulesServiceClient::new(connect(client).await?).max_decoding_message_size(REPLY_BYTES_MAX))
}

/// Some versions of a document of the greatest length.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

async fn active(client: &Client) -> Result<admin::GetRulesResponse> {
    let request = timed(client, admin::GetRulesRequest {});
    let reply = service(client).await?.get_rules(request).await;
    Ok(reply.map_err(|status| failed(&status))?.into_inner())
}

/// The document with the highest version that any partition has.
fn newest(reply: &admin::GetRulesResponse) -> Result<Rules> {
    let document = reply.documents.last().context("the node sent no rules")?;
    Rules::parse(document.json.as_bytes()).context("read the node's rules")
}

/// Which partitions have which version, in one line.
fn summary(reply: &admin::GetRulesResponse) -> String {
    let of_version = |document: &admin::RulesDocument| {
        let has = |of: &&admin::PartitionRules| {
            (of.version, &of.digest) == (document.version, &document.digest)
        };
        let count = reply.partitions.iter().filter(has).count();
        format!("version {} on {count} of {}", document.version, reply.partitions.len())
    };
    let versions: Vec<_> = reply.documents.iter().map(of_version).collect();
    let unread = reply.partitions.iter().filter(|of| of.digest.is_empty());
    let unread = unread.map(|of| format!("{} (version {})", of.partition, of.version));
    let unread = unread.collect::<Vec<_>>().join(", ");
    let unread = match unread.is_empty() {
        true => unread,
        false => format!("; the owners of these were not reached: {unread}"),
    };
    format!("rules: {} partitions{unread}", versions.join(", "))
}

/// Reads a document in JSON, or in TOML if the name of the file ends so.
pub(super) fn read(file: &Path) -> Result<Rules> {
    let name = file.display();
    let extension = file.extension().and_then(|extension| extension.to_str());
    let is_toml = match extension {
        Some("toml") => true,
        Some("json") => false,
        Some(_) | None => bail!("rules {name}: the name must end in .json or .toml"),
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("read rules {name}"))?;
    let json = if is_toml {
        let value: serde_json::Value =
            toml::from_str(&text).with_context(|| format!("read rules {name}"))?;
        value.to_string()
    } else {
        text
    };
    Rules::parse(json.as_bytes()).with_context(|| format!("read rules {name}"))
}

/// The lines that only one of two texts has, with `-` and `+`, and where they are; empty if there
/// are none. A longest common subsequence, since both texts have a few hundred lines.
fn changed_lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // Length of the longest common subsequence of what follows, by place in both.
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    let at = |row: usize, column: usize| row * width + column;
    let get = |common: &[u32], place: usize| common.get(place).copied().unwrap_or_default();
    for (row, line) in old.iter().enumerate().rev() {
        for (column, other) in new.iter().enumerate().rev() {
            let value = match line == other {
                true => get(&common, at(row + 1, column + 1)) + 1,
                false => get(&common, at(row + 1, column)).max(get(&common, at(row, column + 1))),
            };
            if let Some(place) = common.get_mut(at(row, column)) {
                *place = value;
            }
        }
    }
    let (mut row, mut column, mut in_step) = (0, 0, true);
    let mut text = String::new();
    loop {
        let (ours, theirs) = (old.get(row), new.get(column));
        if ours == theirs {
            if ours.is_none() {
                return text;
            }
            (row, column, in_step) = (row + 1, column + 1, true);
            continue;
        }
        if in_step {
            text += &format!("@ line {}\n", row + 1);
            in_step = false;
        }
        let down = get(&common, at(row + 1, column));
        match (ours, theirs) {
            (Some(line), None) => {
                text += &format!("-{line}\n");
                row += 1;
            }
            (Some(line), Some(_)) if down >= get(&common, at(row, column + 1)) => {
                text += &format!("-{line}\n");
                row += 1;
            }
            (_, Some(line)) => {
                text += &format!("+{line}\n");
                column += 1;
            }
            (None, None) => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_that_differ_are_shown() {
        assert_eq!(changed_lines("a\nb\nc", "a\nb\nc"), "");
        assert_eq!(changed_lines("a\nb\nc", "a\nx\nc"), "@ line 2\n-b\n+x\n");
        assert_eq!(changed_lines("a\nc", "a\nb\nc\nd"), "@ line 2\n+b\n@ line 3\n+d\n");
        assert_eq!(changed_lines("", "a"), "@ line 1\n+a\n");
        assert_eq!(changed_lines("a\nb", ""), "@ line 1\n-a\n-b\n");
    }

    #[test]
    fn json_and_toml_say_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let built_in = Rules::built_in();
        let json = dir.path().join("rules.json");
        std::fs::write(&json, built_in.pretty()).unwrap();
        let toml_file = dir.path().join("rules.toml");
        let value: serde_json::Value = serde_json::from_str(&built_in.pretty()).unwrap();
        std::fs::write(&toml_file, toml::to_string(&value).unwrap()).unwrap();
        assert_eq!(read(&json).unwrap(), *built_in);
        assert_eq!(read(&toml_file).unwrap(), *built_in);
        let other = dir.path().join("rules.yaml");
        std::fs::write(&other, "version: 2").unwrap();
        assert!(format!("{:#}", read(&other).unwrap_err()).contains(".json or .toml"));
        std::fs::write(&json, built_in.pretty().replace("\"90d\"", "\"9d \"")).unwrap();
        let refused = format!("{:#}", read(&json).unwrap_err());
        assert!(refused.contains("retention: "), "{refused}");
    }
}
