//! Secrets, from the environment or from files it names. They never become settings, flags or log
//! lines.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Reads a secret from the variable `name`, or from the file that `name`_FILE names. A trailing
/// line end of a file is not part of the secret. Absent and empty are `None`.
pub(crate) fn read(name: &str, get: impl Fn(&str) -> Option<String>) -> Result<Option<String>> {
    let direct = get(name).filter(|secret| !secret.is_empty());
    let file_variable = format!("{name}_FILE");
    let Some(path) = get(&file_variable).filter(|path| !path.is_empty()) else { return Ok(direct) };
    if direct.is_some() {
        bail!("{name} and {file_variable} are both set; set one");
    }
    read_file(Path::new(&path)).map(Some).with_context(|| format!("read {file_variable}"))
}

/// Reads a secret from a file, without a trailing line end; an empty one is refused.
pub(crate) fn read_file(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(text.to_owned())
}

/// The same, as an error that says what to do when it is absent.
pub(crate) fn require(
    name: &str,
    what: &str,
    get: impl Fn(&str) -> Option<String>,
) -> Result<String> {
    let secret = read(name, get)?;
    secret.with_context(|| {
        format!("{name} is not set: put {what} into it, or its path into {name}_FILE")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_the_variable_or_the_file_but_not_from_both() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let with = |direct: bool, by_file: bool| {
            let path = path.clone();
            read("X", move |name| match name {
                "X" if direct => Some("direct".to_owned()),
                "X_FILE" if by_file => Some(path.clone()),
                _ => None,
            })
        };
        assert_eq!(with(true, false).unwrap().as_deref(), Some("direct"));
        assert_eq!(with(false, true).unwrap().as_deref(), Some("s3cret"));
        assert_eq!(with(false, false).unwrap(), None);
        assert!(with(true, true).is_err());
        std::fs::write(file.path(), "\n").unwrap();
        assert!(with(false, true).is_err(), "an empty secret would sign nothing");
    }
}
