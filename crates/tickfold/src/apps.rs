//! Where apps, their secrets and their verify tokens come from: an apps file, or the environment.
//!
//! The apps file names files or environment variables and holds no secret itself, so that it can
//! live in a repository. Everything is read again by a reload; sources are passed in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::Timestamp as Rfc3339;
use serde::Deserialize;
use tickfold_core::time::Timestamp;
use tickfold_ingress::{App, DEFAULT_APP, Secret, VerifyToken};

use crate::secrets;

/// Id of the secret that comes from the environment.
const ENVIRONMENT_SECRET_ID: &str = "primary";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppsFile {
    #[serde(default)]
    app: Vec<AppEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppEntry {
    name: String,
    #[serde(default)]
    verify_tokens: Vec<Source>,
    #[serde(default)]
    secret: Vec<SecretEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretEntry {
    id: String,
    file: Option<PathBuf>,
    env: Option<String>,
    active_from: Option<String>,
    active_until: Option<String>,
}

/// Where one secret text is: exactly one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    file: Option<PathBuf>,
    env: Option<String>,
}

/// Every file that a secret or token comes from, and the apps file itself.
pub(crate) fn files(
    apps_file: Option<&Path>,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Vec<PathBuf>> {
    let Some(path) = apps_file else {
        let variables = ["TICKFOLD_APP_SECRET_FILE", "TICKFOLD_VERIFY_TOKEN_FILE"];
        let paths = variables.into_iter().filter_map(get).filter(|path| !path.is_empty());
        return Ok(paths.map(PathBuf::from).collect());
    };
    let (file, dir) = parse(path)?;
    let named = file.app.into_iter().flat_map(|app| {
        let tokens = app.verify_tokens.into_iter().filter_map(|source| source.file);
        tokens.chain(app.secret.into_iter().filter_map(|secret| secret.file))
    });
    Ok(std::iter::once(path.to_owned()).chain(named.map(|file| dir.join(file))).collect())
}

/// The verify tokens of one app, for whoever makes the handshake. What is served only compares them.
pub(crate) fn verify_tokens(
    apps_file: Option<&Path>,
    name: &str,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>> {
    let Some(path) = apps_file else {
        if name != DEFAULT_APP {
            bail!("there is no app {name}");
        }
        return Ok(secrets::read("TICKFOLD_VERIFY_TOKEN", get)?.into_iter().collect());
    };
    let (file, dir) = parse(path)?;
    let app = file.app.into_iter().find(|app| app.name == name);
    let app = app.with_context(|| format!("there is no app {name}"))?;
    app.verify_tokens.into_iter().map(|source| text(source, dir, &get)).collect()
}

/// Reads the apps: from the file if there is one, else the one app of the environment.
pub(crate) fn read(
    apps_file: Option<&Path>,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Vec<App>> {
    let Some(path) = apps_file else { return environment(get) };
    let (file, dir) = parse(path)?;
    let context = || context(path);
    file.app.into_iter().map(|entry| app(entry, dir, &get).with_context(context)).collect()
}

/// What an apps file says, and the directory that its files are relative to.
fn parse(path: &Path) -> Result<(AppsFile, &Path)> {
    let context = || context(path);
    let text = std::fs::read_to_string(path).with_context(context)?;
    let file = toml::from_str(&text).map_err(|error| unreadable(&error, &text, "an apps file"));
    let file = file.with_context(context)?;
    Ok((file, path.parent().unwrap_or_else(|| Path::new("."))))
}

fn context(path: &Path) -> String {
    format!("read apps file {}", path.display())
}

/// What is wrong with a file about secrets, and where. The library's own text quotes the line and often the
/// value, and what stands there by mistake may be a secret.
pub(crate) fn unreadable(error: &toml::de::Error, text: &str, file: &str) -> anyhow::Error {
    let form = format!("not the form of {file}");
    let message = error.message();
    // These name fields and nothing else.
    let named = ["unknown field", "missing field", "duplicate key"];
    let what = match named.iter().any(|begin| message.starts_with(begin)) {
        true => message,
        false => &form,
    };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    anyhow::anyhow!("line {}: {what}", before.matches('\n').count() + 1)
}

/// The apps as far as signatures are concerned: what verifies what was taken in needs no token.
pub(crate) fn read_secrets(
    apps_file: Option<&Path>,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Vec<App>> {
    if apps_file.is_some() {
        return read(apps_file, get);
    }
    let secret = secrets::require("TICKFOLD_APP_SECRET", "the app secret of the Meta app", &get)?;
    let secrets = vec![Secret::new(ENVIRONMENT_SECRET_ID, secret)];
    Ok(vec![App { name: DEFAULT_APP.to_owned(), secrets, verify_tokens: Vec::new() }])
}

fn environment(get: impl Fn(&str) -> Option<String>) -> Result<Vec<App>> {
    let secret = secrets::require("TICKFOLD_APP_SECRET", "the app secret of the Meta app", &get)?;
    let what = "the verify token of the webhook's handshake";
    let token = secrets::require("TICKFOLD_VERIFY_TOKEN", what, &get)?;
    Ok(vec![App {
        name: DEFAULT_APP.to_owned(),
        secrets: vec![Secret::new(ENVIRONMENT_SECRET_ID, secret)],
        verify_tokens: vec![VerifyToken::new(&token)],
    }])
}

fn app(entry: AppEntry, dir: &Path, get: impl Fn(&str) -> Option<String>) -> Result<App> {
    let AppEntry { name, verify_tokens, secret: secret_entries } = entry;
    let token = |source: Source| {
        let text =
            text(source, dir, &get).with_context(|| format!("verify token of app {name}"))?;
        Ok(VerifyToken::new(&text))
    };
    let verify_tokens = verify_tokens.into_iter().map(token).collect::<Result<_>>()?;
    let secret = |entry: SecretEntry| {
        let SecretEntry { id, file, env, active_from, active_until } = entry;
        let context = || format!("secret {id} of app {name}");
        let key = text(Source { file, env }, dir, &get).with_context(context)?;
        let active_from = time(active_from).with_context(context)?;
        let active_until = time(active_until).with_context(context)?;
        Ok(Secret { active_from, active_until, ..Secret::new(&id, key) })
    };
    let secrets = secret_entries.into_iter().map(secret).collect::<Result<_>>()?;
    Ok(App { name: name.clone(), secrets, verify_tokens })
}

/// The text that a source names; a trailing line end of a file is not part of it.
fn text(source: Source, dir: &Path, get: impl Fn(&str) -> Option<String>) -> Result<String> {
    match (source.file, source.env) {
        (Some(file), None) => secrets::read_file(&dir.join(file)),
        (None, Some(name)) => get(&name)
            .filter(|text| !text.is_empty())
            .with_context(|| format!("environment variable {name} is not set")),
        (Some(_), Some(_)) | (None, None) => bail!("give either file or env"),
    }
}

pub(crate) fn time(text: Option<String>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let time: Rfc3339 = text
        .parse()
        .with_context(|| format!("{text:?} is not a time such as 2026-11-24T00:00:00Z"))?;
    Ok(Some(Timestamp::from_millis(time.as_millisecond())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn shown(apps: &[App]) -> Vec<(&str, Vec<&str>)> {
        apps.iter()
            .map(|app| {
                (app.name.as_str(), app.secrets.iter().map(|secret| secret.id.as_str()).collect())
            })
            .collect()
    }

    #[test]
    fn an_apps_file_names_files_and_variables_beside_it() {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::write(dir.path().join("one"), "key-1\n").unwrap();
        let path = dir.path().join("apps.toml");
        let text = r#"
            [[app]]
            name = "main"
            verify_tokens = [{ env = "TOKEN" }]
            [[app.secret]]
            id = "2026-11"
            file = "one"
            active_from = "2026-11-24T00:00:00Z"
            [[app.secret]]
            id = "2026-05"
            env = "OLD"
            active_until = "2026-12-01T00:00:00+01:00"
            [[app]]
            name = "other"
            [[app.secret]]
            id = "1"
            file = "one"
        "#;
        std::fs::write(&path, text).unwrap();
        let get = |name: &str| matches!(name, "TOKEN" | "OLD").then(|| format!("{name}-value"));
        let apps = read(Some(&path), get).unwrap();
        assert_eq!(shown(&apps), [("main", vec!["2026-11", "2026-05"]), ("other", vec!["1"])]);
        assert_eq!(apps[0].secrets[0].key, b"key-1");
        assert_eq!(apps[0].secrets[1].key, b"OLD-value");
        let until = apps[0].secrets[1].active_until.unwrap();
        assert_eq!(until, Timestamp::from_millis(1_796_079_600_000));
        assert_eq!((apps[0].verify_tokens.len(), apps[1].verify_tokens.len()), (1, 0));
    }

    #[test]
    fn what_is_wrong_with_an_apps_file_is_named() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("apps.toml");
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            format!("{:#}", read(Some(&path), none).unwrap_err())
        };
        let secret = |line: &str| {
            error(&format!("[[app]]\nname = \"a\"\n[[app.secret]]\nid = \"1\"\n{line}"))
        };
        assert!(secret("").contains("secret 1 of app a: give either file or env"));
        assert!(secret("file = \"x\"\nenv = \"Y\"").contains("give either file or env"));
        assert!(secret("env = \"Y\"").contains("environment variable Y is not set"));
        assert!(secret("file = \"gone\"").contains("gone"));
        let open = secret("key = \"in the open\"");
        assert!(open.contains("line 5: unknown field `key`") && !open.contains("open"), "{open}");
        for text in [
            "[[app]]\nname = \"a\"\nverify_tokens = [\"in the open\"]",
            "[[app]]\nname = \"a\"\nverify_tokens = [{ env = \"in the open }]",
            "[[app]]\nname = \"a\"\nsecret = \"in the open\"",
        ] {
            let shown = error(text);
            assert!(shown.contains("line 3: not the form") && !shown.contains("open"), "{shown}");
        }
        std::fs::write(dir.path().join("k"), "k").unwrap();
        let late = secret("file = \"k\"\nactive_from = \"tomorrow\"");
        assert!(late.contains("\"tomorrow\" is not a time"), "{late}");
    }

    #[test]
    fn without_a_file_the_environment_gives_the_one_app() {
        let get = |name: &str| Some(format!("{name}-value")).filter(|_| !name.ends_with("_FILE"));
        let apps = read(None, get).unwrap();
        assert_eq!(shown(&apps), [("main", vec!["primary"])]);
        let error = read(None, none).unwrap_err();
        assert!(error.to_string().contains("TICKFOLD_APP_SECRET is not set"), "{error}");
    }
}
