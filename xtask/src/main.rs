//! Generators of committed files, so that building tickfold needs neither protoc nor a generator.
//!
//! `cargo run -p xtask -- proto|schemas` rewrites the files; with `--check` it changes nothing and
//! fails if they differ from what it would write. `schemas` writes the pages of the topics too. The tests of this crate are the same checks. While
//! core does not compile, `--no-default-features` leaves a build that still has `proto`.

mod generated;
mod proto;
#[cfg(feature = "schemas")]
mod topics;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const USAGE: &str = "usage: cargo run -p xtask -- proto|schemas [--check]";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (generator, check) = match args.as_slice() {
        [generator] => (*generator, false),
        [generator, "--check"] => (*generator, true),
        _ => bail!(USAGE),
    };
    let root = repository()?;
    let generated = match generator {
        "proto" => vec![proto::generate(&root)?],
        #[cfg(feature = "schemas")]
        "schemas" => topics::generate(&root)?,
        _ => bail!(USAGE),
    };
    let done = |files: &generated::Generated| {
        if check { files.check(&root) } else { files.write(&root) }
    };
    generated.iter().try_for_each(done)
}

/// The root of the workspace that cargo runs in. Read at run time: clones that share a target
/// directory share this binary too, and a path compiled into it would check the wrong clone.
fn repository() -> anyhow::Result<PathBuf> {
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").context("run xtask through cargo")?;
    let root = Path::new(&manifest_dir).parent().context("find the root above xtask")?;
    Ok(root.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_proto_code_is_fresh() {
        let root = repository().unwrap();
        proto::generate(&root).unwrap().check(&root).unwrap();
    }

    #[test]
    #[cfg(feature = "schemas")]
    fn committed_schemas_are_fresh() {
        let root = repository().unwrap();
        for files in topics::generate(&root).unwrap() {
            files.check(&root).unwrap();
        }
    }
}
