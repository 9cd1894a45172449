//! The callers of gRPC and the admin listener: the tokens file, and `tickfold token`, which makes its
//! entries.
//!
//! The file holds no token, only what a token hashes to, so that it can live where configuration does.
//! It is read again by a reload.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tickfold_core::hash::sha256_hex;
use tickfold_core::ids::WabaId;
use tickfold_core::time::Timestamp;
use tickfold_query::{Accounts, Proof, Scope, TOKEN_PREFIX, TokenEntry};

use crate::apps;
use crate::cli::{Token, TokenCreate};
use crate::client::{listing, print, report};

/// Every account, in `wabas`.
const ALL: &str = "*";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensFile {
    #[serde(default)]
    token: Vec<Entry>,
}

/// An entry as the file has it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    scopes: Vec<String>,
    wabas: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_max: Option<usize>,
}

/// Reads and checks a tokens file.
pub(crate) fn read(path: &Path) -> Result<Vec<TokenEntry>> {
    let entries = entries(path)?;
    let context = || format!("read tokens file {}", path.display());
    let entries: Result<Vec<_>> = entries.into_iter().map(entry).collect();
    let entries = entries.with_context(context)?;
    TokenEntry::check_all(&entries).with_context(context)?;
    Ok(entries)
}

fn entries(path: &Path) -> Result<Vec<Entry>> {
    let context = || format!("read tokens file {}", path.display());
    let text = std::fs::read_to_string(path).with_context(context)?;
    let file: TokensFile = toml::from_str(&text)
        .map_err(|error| apps::unreadable(&error, &text, "a tokens file"))
        .with_context(context)?;
    Ok(file.token)
}

fn entry(told: Entry) -> Result<TokenEntry> {
    let Entry { name, sha256, client_name, scopes, wabas, expires, calls_max } = told;
    let context = || format!("token {name}");
    let proof = match (sha256, client_name) {
        (Some(hex), None) => Proof::TokenHash(hash(&hex).with_context(context)?),
        (None, Some(client_name)) => Proof::CertificateName(client_name),
        (Some(_), Some(_)) | (None, None) => {
            return Err(anyhow::anyhow!("give either sha256 or client_name")).with_context(context);
        }
    };
    let scope = |word: String| {
        let known = Scope::ALL.map(Scope::word).join(", ");
        Scope::of(&word).with_context(|| format!("scope {word:?} is none of {known}"))
    };
    let scopes = scopes.into_iter().map(scope).collect::<Result<_>>().with_context(context)?;
    let accounts = if wabas == [ALL] {
        Accounts::All
    } else {
        Accounts::Only(wabas.iter().map(|id| WabaId::from(id.as_str())).collect())
    };
    let expires = apps::time(expires).with_context(context)?;
    Ok(TokenEntry { name, proof, scopes, accounts, expires, calls_max })
}

fn hash(hex: &str) -> Result<[u8; 32]> {
    let digits = (hex.len() == 64).then(|| hex.as_bytes().chunks(2));
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.and_then(|digits| digits.map(byte).collect());
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .context("sha256 is not 64 digits of hex: `tickfold token create` prints it")
}

/// `tickfold token`.
pub(crate) fn run(what: Token) -> Result<ExitCode> {
    match what {
        Token::Create(create) => self::create(create),
        Token::Ls { file, output } => {
            read(&file)?;
            let rows = entries(&file)?;
            listing(output, &rows, table)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn create(create: TokenCreate) -> Result<ExitCode> {
    let TokenCreate { name, scopes, wabas, all_wabas, expires, client_name, calls_max, append } =
        create;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("draw random bytes")?;
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let sha256 = client_name.is_none().then(|| sha256_hex(token.as_bytes()));
    let wabas = if all_wabas { vec![ALL.to_owned()] } else { wabas };
    let told = Entry { name, sha256, client_name, scopes, wabas, expires, calls_max };
    let text = format!("[[token]]\n{}", toml::to_string(&told).context("write the entry")?);
    // What would be refused at the reload is refused here.
    let is_token = told.sha256.is_some();
    let mut all = vec![entry(told)?];
    if let Some(path) = &append {
        if path.exists() {
            all.extend(read(path)?);
        }
        TokenEntry::check_all(&all)?;
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).append(true).mode(0o640).open(path);
        let mut file = file.with_context(|| format!("open {}", path.display()))?;
        let written = file.write_all(format!("\n{text}").as_bytes()).and_then(|()| file.sync_all());
        written.with_context(|| format!("append to {}", path.display()))?;
        report(&format!(
            "entry appended to {}; `tickfold reload` puts it in force",
            path.display()
        ));
    } else {
        TokenEntry::check_all(&all)?;
        report("the entry for the tokens file is below; `tickfold reload` puts it in force");
    }
    if is_token {
        report("the token is shown this once");
        print(&format!("{token}\n"));
    }
    if append.is_none() {
        print(&format!("\n{text}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A row per entry. The hash says nothing to a person.
fn table(entries: &[Entry]) -> String {
    let mut rows = vec![["NAME", "BY", "SCOPES", "WABAS", "EXPIRES"].map(str::to_owned)];
    for entry in entries {
        let by = entry.client_name.clone().unwrap_or_else(|| "token".to_owned());
        let expires = entry.expires.clone().unwrap_or_else(|| "-".to_owned());
        let (scopes, wabas) = (entry.scopes.join(","), entry.wabas.join(","));
        rows.push([entry.name.clone(), by, scopes, wabas, expires]);
    }
    let mut widths = [0_usize; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 5]| {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Entries whose time is over at that moment, and those of which it soon will be.
pub(crate) fn ending(entries: &[TokenEntry], by: Timestamp) -> BTreeSet<String> {
    let ends = |entry: &&TokenEntry| entry.expires.is_some_and(|expires| expires <= by);
    entries.iter().filter(ends).map(|entry| entry.name.clone()).collect()
}

/// The token that a command of ours shows: from the file that a flag names, or the environment.
pub(crate) fn own(
    file: Option<&Path>,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>> {
    let token = match file {
        Some(path) => Some(crate::secrets::read_file(path)?),
        None => crate::secrets::read("TICKFOLD_TOKEN", get)?,
    };
    if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        bail!("the token is no token: it has spaces or other bytes that none has");
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<TokenEntry>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn a_tokens_file_names_callers_and_what_they_may() {
        let hex = sha256_hex(b"t");
        let text = format!(
            r#"
            [[token]]
            name = "crm"
            sha256 = "{hex}"
            scopes = ["query", "pii.read"]
            wabas = ["1", "2"]
            expires = "2027-01-01T00:00:00Z"
            calls_max = 8
            [[token]]
            name = "node"
            client_name = "node.internal"
            scopes = ["node"]
            wabas = ["*"]
            "#
        );
        let entries = read_text(&text).unwrap();
        let crm = TokenEntry {
            name: "crm".to_owned(),
            proof: Proof::TokenHash(tickfold_core::hash::sha256(b"t")),
            scopes: [Scope::Query, Scope::PersonalData].into(),
            accounts: Accounts::Only(["1", "2"].map(WabaId::from).into()),
            expires: Timestamp::parse_rfc3339("2027-01-01T00:00:00Z"),
            calls_max: Some(8),
        };
        let node = TokenEntry {
            name: "node".to_owned(),
            proof: Proof::CertificateName("node.internal".to_owned()),
            scopes: [Scope::Node].into(),
            accounts: Accounts::All,
            expires: None,
            calls_max: None,
        };
        assert!(entries == [crm, node], "{entries:?}");
        assert_eq!(
            ending(&entries, Timestamp::parse_rfc3339("2027-01-01T00:00:00Z").unwrap()).len(),
            1
        );
    }

    #[test]
    fn what_is_wrong_with_a_tokens_file_is_named() {
        let error = |lines: &str| {
            let text = format!("[[token]]\nname = \"a\"\nwabas = [\"*\"]\n{lines}");
            format!("{:#}", read_text(&text).unwrap_err())
        };
        let hex = sha256_hex(b"t");
        assert!(
            error("scopes = [\"query\"]").contains("token a: give either sha256 or client_name")
        );
        let short = error("sha256 = \"abc\"\nscopes = [\"query\"]");
        assert!(short.contains("64 digits of hex") && !short.contains("abc"), "{short}");
        let word = error(&format!("sha256 = \"{hex}\"\nscopes = [\"all\"]"));
        assert!(word.contains("\"all\" is none of query, pii.read, admin, node"), "{word}");
        // A token by mistake in the place of its hash is not shown.
        let open = error("token = \"tickfold_in_the_open\"\nscopes = []");
        assert!(open.contains("unknown field `token`") && !open.contains("open"), "{open}");
        assert!(error("sha256 = \"tickfold_x").contains("not the form of a tokens file"));
        assert!(read_text("").unwrap().is_empty());
    }

    #[test]
    fn a_command_shows_the_token_of_its_flag_or_its_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "of-the-file\n").unwrap();
        let get = |name: &str| (name == "TICKFOLD_TOKEN").then(|| "of-the-environment".to_owned());
        assert_eq!(own(Some(file.path()), get).unwrap().as_deref(), Some("of-the-file"));
        assert_eq!(own(None, get).unwrap().as_deref(), Some("of-the-environment"));
        assert_eq!(own(None, |_| None).unwrap(), None);
        std::fs::write(file.path(), "two words").unwrap();
        assert!(own(Some(file.path()), get).is_err());
    }
}
