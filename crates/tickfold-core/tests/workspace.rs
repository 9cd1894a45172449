//! Checks on the repository as a whole: which crate may depend on which, which packages are direct dependencies, what
//! every source file opens with, and that nothing in a file points at the machine it was written on.
//!
//! They stand here because core is the crate whose tests are quickest to reach. A new crate or dependency is a new row
//! in a table below; the row is the place to think about whether the edge should exist.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the crate's bans keep IO out of the fold; these tests are about files"
)]
#![allow(clippy::indexing_slicing, reason = "an absent key of a JSON value reads as null")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Our crates and those of ours each may name. `EVERYTHING` is for the top of the graph.
const EDGES: &[(&str, &[&str])] = &[
    // What stands for a consumer in another repository has to do without ours.
    ("fallback-worker", &[]),
    ("tickfold", EVERYTHING),
    ("tickfold-benches", EVERYTHING),
    ("tickfold-core", &[]),
    ("tickfold-ingress", &["tickfold-core", "tickfold-log"]),
    ("tickfold-log", &[]),
    ("tickfold-processor", &["tickfold-core", "tickfold-log", "tickfold-store"]),
    ("tickfold-proto", &[]),
    ("tickfold-query", &["tickfold-core", "tickfold-log", "tickfold-proto", "tickfold-store"]),
    // Of the roles it runs the processor only, and nothing that is made of C++.
    ("tickfold-sim", &["tickfold-core", "tickfold-log", "tickfold-processor", "tickfold-store"]),
    ("tickfold-store", &["tickfold-core", "tickfold-proto"]),
    ("tickfold-workload", &["tickfold-core"]),
    ("xtask", &["tickfold-core", "tickfold-proto"]),
];

const EVERYTHING: &[&str] = &["*"];

/// Packages the design names, and the crates that must use them directly, not through a wrapper of somebody else's.
/// One line per package; a crate that stops needing its package changes the line in the same commit.
const REQUIRED: &[(&str, &[&str])] = &[
    ("axum", &["tickfold-ingress"]),
    ("hmac", &["tickfold-core"]),
    ("metrics", &["tickfold-ingress", "tickfold-log", "tickfold-processor", "tickfold-query"]),
    ("prost", &["tickfold-proto", "tickfold-store"]),
    ("rdkafka", &["tickfold-log"]),
    ("rocksdb", &["tickfold-log", "tickfold-store"]),
    ("serde", &["tickfold-core"]),
    ("serde_json", &["tickfold-core"]),
    ("sha2", &["tickfold-core", "tickfold-ingress"]),
    ("subtle", &["tickfold-ingress", "tickfold-query"]),
    (
        "tokio",
        &["tickfold", "tickfold-ingress", "tickfold-log", "tickfold-processor", "tickfold-query"],
    ),
    ("tonic", &["tickfold-proto", "tickfold-query"]),
    (
        "tracing",
        &["tickfold", "tickfold-ingress", "tickfold-log", "tickfold-processor", "tickfold-query"],
    ),
];

/// Native libraries that the quick test loop must never compile.
const HEAVY: &[&str] = &["librocksdb-sys", "rdkafka-sys", "rocksdb"];

#[test]
fn crates_depend_only_downwards() -> Outcome {
    let rows: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let packages = packages()?;
    let mut wrong = Vec::new();
    for (name, dependencies) in &packages {
        let Some(allowed) = rows.get(name.as_str()) else {
            wrong.push(format!("{name} has no row in EDGES"));
            continue;
        };
        for dependency in dependencies {
            let ours = packages.contains_key(&dependency.name);
            // A crate names itself in its dev-dependencies to switch its own test features on.
            let itself = dependency.dev && dependency.name == *name;
            let listed = *allowed == EVERYTHING || allowed.contains(&dependency.name.as_str());
            if ours && !itself && !listed {
                let section = if dependency.dev { "dev-dependency" } else { "dependency" };
                wrong.push(format!("{name} → {} ({section})", dependency.name));
            }
        }
    }
    for name in rows.keys().filter(|name| !packages.contains_key(**name)) {
        wrong.push(format!("EDGES has a row for {name}, which is no crate of the workspace"));
    }
    assert!(wrong.is_empty(), "edges that the layering does not allow:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn named_packages_are_direct_dependencies() -> Outcome {
    let packages = packages()?;
    let mut missing = Vec::new();
    for (package, crates) in REQUIRED {
        for name in *crates {
            let found = packages.get(*name).is_some_and(|all| {
                all.iter().any(|dependency| !dependency.dev && dependency.name == *package)
            });
            if !found {
                missing.push(format!("{name} does not depend on {package}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}

/// `cargo test -p tickfold-core -p tickfold-processor` is the loop of daily work, so it stays free of C++.
#[test]
fn the_quick_loop_compiles_no_native_engine() -> Outcome {
    let args = [
        "tree",
        "--offline",
        "--prefix",
        "none",
        "--format",
        "{lib}|{p}",
        "-e",
        "normal,build,dev",
    ];
    let tree = cargo(&[&args[..], &["-p", "tickfold-core", "-p", "tickfold-processor"]].concat())?;
    let packages: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split('|').nth(1)?.split(' ').next()).collect();
    assert!(packages.contains("serde_json"), "cargo tree printed something unexpected:\n{tree}");
    let found: Vec<_> = HEAVY.iter().filter(|name| packages.contains(**name)).collect();
    assert!(found.is_empty(), "the tests of core and processor build {found:?}");
    Ok(())
}

#[test]
fn every_source_file_says_what_it_is_for() -> Outcome {
    let root = root()?;
    let mut silent = Vec::new();
    for top in ["crates", "examples", "xtask"] {
        for file in files(&root.join(top))? {
            let generated = file.components().any(|part| part.as_os_str() == "gen");
            if file.extension().is_some_and(|ext| ext == "rs")
                && !generated
                && !fs::read_to_string(&file)?.starts_with("//!")
            {
                silent.push(file.display().to_string());
            }
        }
    }
    assert!(silent.is_empty(), "files that do not open with `//!`:\n{}", silent.join("\n"));
    Ok(())
}

/// The compiler denies unsafe code, but a file can allow itself what is denied.
#[test]
fn one_file_has_unsafe_code() -> Outcome {
    let root = root()?;
    let needle = ["uns", "afe {"].concat();
    let mut found = Vec::new();
    for top in ["crates", "xtask", "benches", "examples"] {
        for file in files(&root.join(top))? {
            if file.extension().is_some_and(|ext| ext == "rs")
                && fs::read_to_string(&file)?.contains(&needle)
            {
                found.push(file.strip_prefix(&root)?.display().to_string());
            }
        }
    }
    assert_eq!(found, ["crates/tickfold-log/src/kafka/native.rs"]);
    Ok(())
}

#[test]
fn no_file_points_at_the_machine_it_was_written_on() -> Outcome {
    // In halves, so that this file does not contain what it looks for.
    let needles = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["index.", "crates.io"],
        ["static.", "crates.io"],
        ["py", "pi.org"],
        ["files.python", "hosted.org"],
        ["registry.npm", "js.org"],
        ["proxy.go", "lang.org"],
        ["repo1.ma", "ven.org"],
        ["repo.ma", "ven.apache.org"],
        ["deb.de", "bian.org"],
    ]
    .map(|halves| halves.concat());

    let mut found = Vec::new();
    for file in files(&root()?)? {
        let bytes = fs::read(&file)?;
        for needle in &needles {
            if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(format!("{}: {needle}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

struct Dependency {
    name: String,
    dev: bool,
}

/// The packages of the workspace with their declared dependencies, optional ones and those of every platform included.
fn packages() -> Outcome<BTreeMap<String, Vec<Dependency>>> {
    let text = cargo(&["metadata", "--offline", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata has no packages")?;
    packages.iter().map(package).collect()
}

fn package(package: &Value) -> Outcome<(String, Vec<Dependency>)> {
    let name = package["name"].as_str().ok_or("a package without name")?;
    let dependencies =
        package["dependencies"].as_array().ok_or("a package without dependencies")?;
    let dependencies = dependencies.iter().map(|dependency| {
        let name = dependency["name"].as_str().ok_or("a dependency without name")?;
        Ok(Dependency { name: name.to_owned(), dev: dependency["kind"] == "dev" })
    });
    Ok((name.to_owned(), dependencies.collect::<Outcome<_>>()?))
}

fn cargo(args: &[&str]) -> Outcome<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(args).current_dir(root()?).output()?;
    if !output.status.success() {
        return Err(format!(
            "cargo {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn root() -> Outcome<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    Ok(root.ok_or("the crate lies two levels below the root")?.to_owned())
}

/// Every file below `top` that version control would hold: build output, run data and the sample corpus are left out.
fn files(top: &Path) -> Outcome<Vec<PathBuf>> {
    const SKIPPED: &[&str] =
        &[".git", "__pycache__", "corpus", "data", "node_modules", "secrets", "target"];
    let mut found = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let skipped = entry.file_name().to_str().is_some_and(|name| SKIPPED.contains(&name));
            if kind.is_dir() && !skipped {
                waiting.push(entry.path());
            // In a further work tree `.git` is a file that names the first one.
            } else if kind.is_file()
                && !skipped
                && entry.path().extension().is_none_or(|ext| ext != "profraw")
            {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
