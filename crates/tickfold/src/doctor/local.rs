//! This machine: secrets and their files, directories, memory.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use tickfold_core::time::{DAY_MS, Timestamp};
use tickfold_ingress::App;

use super::{Finding, Patient};
use crate::config::Config;
use crate::node::Role;
use crate::reload::Sources;
use crate::{apps, environment, node, tokens};

/// How long before its end a last secret should have a successor.
const SUCCESSOR_MS: i64 = 14 * DAY_MS;

/// Space below which a log or state is about to stop, and below which it is time to act.
const SPACE_BYTES_MIN: u64 = 512 << 20;
const SPACE_BYTES_ADVISED: u64 = 5 << 30;

/// Write buffers while full ones are flushed, as multiples of their setting: of all states together, and of the
/// embedded log.
const STORE_BUFFERS: u64 = 2;
const LOG_BUFFERS: u64 = 3;
/// Batches of a partition: one on its way, one on top.
const BATCHES: u64 = 2;
/// Records that a reader of Kafka may have in memory, per partition.
const READ_AHEAD_BYTES: u64 = 8 << 20;
/// The process beside what settings bound: code, threads, connections, batches being folded.
const PROCESS_BYTES: u64 = 192 << 20;

/// The apps with their secrets and tokens, and who may read the files these are in.
pub(super) fn secrets(config: &Config) -> Vec<Finding> {
    let path = config.ingress.apps_file.as_deref();
    let apps = apps::read(path, environment);
    let apps = apps.and_then(|apps| App::check_all(&apps).map(|()| apps).map_err(Into::into));
    let mut findings = match &apps {
        Ok(apps) => apps.iter().map(|app| secrets_of(app, now())).collect(),
        Err(error) => {
            let fix = "set TICKFOLD_APP_SECRET and TICKFOLD_VERIFY_TOKEN, or name an apps file with \
                       ingress.apps_file";
            vec![Finding::fail("secrets", format!("{error:#}"), fix)]
        }
    };
    findings.extend(apps::files(path, environment).ok().map(|files| secret_files(&files)));
    findings
}

fn secrets_of(app: &App, now: Timestamp) -> Finding {
    const NAME: &str = "secrets";
    let App { name, secrets, verify_tokens } = app;
    let active: Vec<_> = secrets.iter().filter(|secret| secret.is_active(now)).collect();
    let ids: Vec<_> = active.iter().map(|secret| secret.id.as_str()).collect();
    if active.is_empty() {
        let found = format!("app {name} has no secret that is active now");
        return Finding::fail(
            NAME,
            found,
            "add the app secret that Meta signs with, then `tickfold reload`",
        );
    }
    let found = format!("app {name}: {} active", ids.join(", "));
    let ends = active
        .iter()
        .map(|secret| secret.active_until)
        .max_by_key(|end| end.map_or(i64::MAX, Timestamp::as_millis));
    if let Some(Some(end)) = ends
        && end < now.plus(SUCCESSOR_MS)
    {
        let found = format!("{found}, the last until {end}");
        return Finding::warn(
            NAME,
            found,
            "add its successor before that time, then `tickfold reload`",
        );
    }
    if verify_tokens.is_empty() {
        let found = format!("{found}, but no verify token, so every handshake is refused");
        return Finding::warn(NAME, found, "add the verify token that the Meta app is given");
    }
    Finding::ok(NAME, format!("{found}, {} verify tokens", verify_tokens.len()))
}

/// The callers that are known, where there are to be any, and who may write their file.
pub(super) fn tokens(config: &Config) -> Option<Finding> {
    const NAME: &str = "tokens";
    let path = config.auth.tokens_file.as_deref()?;
    let entries = match tokens::read(path) {
        Ok(entries) => entries,
        Err(error) => {
            let fix = "`tickfold token create` makes entries";
            return Some(Finding::fail(NAME, format!("{error:#}"), fix));
        }
    };
    let mode = fs::metadata(path).map(|found| found.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o002 != 0) {
        let path = path.display();
        let found = format!("every user of this machine may make callers known in {path}");
        return Some(Finding::warn(NAME, found, format!("chmod o-w {path}")));
    }
    let ending = tokens::ending(&entries, now().plus(SUCCESSOR_MS));
    if !ending.is_empty() {
        let names: Vec<_> = ending.into_iter().collect();
        let found = format!("over, or within 14 days: {}", names.join(", "));
        let fix = "make their successors with `tickfold token create`, then `tickfold reload`";
        return Some(Finding::warn(NAME, found, fix));
    }
    Some(Finding::ok(NAME, format!("{} callers are known", entries.len())))
}

/// What nodes and callers are known by, where there is any.
pub(super) fn certificates(patient: &Patient<'_>) -> Option<Finding> {
    const NAME: &str = "certificates";
    let sources = Sources::new(patient.config, patient.role.takes_webhooks());
    match sources.and_then(|sources| sources.certificates()) {
        Ok(0) => None,
        Ok(_) => Some(Finding::ok(NAME, "can be read, and fit their keys")),
        Err(error) => {
            let fix = "correct the setting or the file that it names";
            Some(Finding::fail(NAME, format!("{error:#}"), fix))
        }
    }
}

/// Where other nodes ask this one, if any do.
pub(super) fn address(patient: &Patient<'_>) -> Option<Finding> {
    const NAME: &str = "address";
    let Patient { config, role, .. } = patient;
    node::is_asked(config, *role).then_some(())?;
    if let Some(why) = node::unreachable(config, *role, config.grpc_addr) {
        let found = format!("nodes on other machines cannot ask this one: {why}");
        let fix = "set grpc_advertised_addr to HOST:PORT, if there are any";
        return Some(Finding::warn(NAME, found, fix));
    }
    let listens = || config.grpc_addr.to_string();
    let address = config.grpc_advertised_addr.clone().unwrap_or_else(listens);
    Some(Finding::ok(NAME, format!("other nodes ask this one at {address}")))
}

fn secret_files(files: &[PathBuf]) -> Finding {
    const NAME: &str = "secret_files";
    if files.is_empty() {
        return Finding::ok(NAME, "none: secrets come from the environment");
    }
    let for_all = |path: &&PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o007 != 0)
    };
    let open: Vec<_> =
        files.iter().filter(for_all).map(|path| path.display().to_string()).collect();
    if open.is_empty() {
        return Finding::ok(NAME, format!("{} files, for their owner and group only", files.len()));
    }
    let open = open.join(" ");
    let fix = format!("chmod o-rwx {open}");
    Finding::warn(NAME, format!("every user of this machine may use {open}"), fix)
}

/// Whether it can be written, and how much space is left.
pub(super) fn data_dir(patient: &Patient<'_>) -> Vec<Finding> {
    let dir = &patient.config.data_dir;
    let writable = directory("data_dir", dir, patient.read_only, "data_dir");
    let space = match space(dir) {
        Ok((free, total)) => judge_space(dir, free, total),
        Err(error) => Finding::skipped("disk", format!("{error:#}")),
    };
    vec![writable, space]
}

fn judge_space(dir: &Path, free: u64, total: u64) -> Finding {
    const NAME: &str = "disk";
    let found = format!("{} of {} are free in {}", size(free), size(total), dir.display());
    let fix = "make room, or put data_dir on a larger volume: a full disk refuses webhooks";
    match free {
        free if free < SPACE_BYTES_MIN => Finding::fail(NAME, found, fix),
        free if free < SPACE_BYTES_ADVISED || free < total / 20 => Finding::warn(NAME, found, fix),
        _ => Finding::ok(NAME, found),
    }
}

/// Where checkpoints go, if anywhere.
pub(super) fn checkpoints(patient: &Patient<'_>) -> Finding {
    const NAME: &str = "checkpoints";
    let config = patient.config;
    let Some(dir) = &config.store.checkpoint_dir else {
        let found = "none are made: a lost state is folded anew from the begin of raw";
        return Finding::warn(
            NAME,
            found,
            "set store.checkpoint_dir, on another volume than data_dir",
        );
    };
    if dir.starts_with(&config.data_dir) {
        let found = format!("{} is in the data directory, and lost with it", dir.display());
        return Finding::fail(NAME, found, "move store.checkpoint_dir to another volume");
    }
    let finding = directory(NAME, dir, patient.read_only, "store.checkpoint_dir");
    let volume = |path: &Path| Some(fs::metadata(existing(path)?).ok()?.dev());
    if finding.status == super::Status::Ok && volume(dir) == volume(&config.data_dir) {
        let found = format!("{}, on the volume of the data directory", finding.found);
        return Finding::warn(NAME, found, "move store.checkpoint_dir to another volume");
    }
    finding
}

/// Whether a file can be made, written, synced and deleted in it; one that is not there can be made.
fn directory(name: &'static str, dir: &Path, read_only: bool, setting: &str) -> Finding {
    let shown = dir.display();
    if read_only {
        return match dir.is_dir() {
            true => Finding::ok(
                name,
                format!("{shown} is there; whether it can be written was not tried"),
            ),
            false => Finding::skipped(name, format!("{shown} is not there, and was not made")),
        };
    }
    match try_write(dir) {
        Ok(()) => Finding::ok(name, format!("{shown} can be written")),
        Err(error) => {
            let fix =
                format!("give the user of the process a directory it may write, or set {setting}");
            Finding::fail(name, format!("{error:#}"), fix)
        }
    }
}

fn try_write(dir: &Path) -> Result<()> {
    let made = !dir.exists();
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let path = dir.join("doctor.probe");
    let write = || {
        let mut file = fs::File::create(&path)?;
        file.write_all(&[0; 64 << 10])?;
        file.sync_all()
    };
    let written = write().with_context(|| format!("write {}", path.display()));
    // What was never made cannot be deleted.
    let _ = fs::remove_file(&path);
    if made {
        // A doctor leaves no directory behind where there was none.
        let _ = fs::remove_dir(dir);
    }
    written
}

/// The path, or the nearest above it that is there.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

/// Free and all bytes of the volume.
fn space(dir: &Path) -> Result<(u64, u64)> {
    let dir = existing(dir).unwrap_or_else(|| Path::new("."));
    let found = rustix::fs::statvfs(dir)
        .with_context(|| format!("ask for the space in {}", dir.display()))?;
    Ok((
        found.f_bavail.saturating_mul(found.f_frsize),
        found.f_blocks.saturating_mul(found.f_frsize),
    ))
}

/// What settings let the process use, beside what it may use.
pub(super) fn memory(patient: &Patient<'_>, partitions: u32) -> Finding {
    let Some((limit, whose)) = memory_limit(|path| fs::read_to_string(path).ok()) else {
        return Finding::skipped(
            "memory",
            "neither a limit nor the memory of the machine can be read",
        );
    };
    judge_memory(budget(patient.config, patient.role, partitions), limit, whose)
}

fn judge_memory(budget: u64, limit: u64, whose: &str) -> Finding {
    const NAME: &str = "memory";
    let found = format!("up to {} by the settings, of {} {whose}", size(budget), size(limit));
    let fix = "lower store.block_cache_bytes, store.write_buffer_bytes_total, \
               ingress.inflight_bytes_max or kafka.append_bytes_max, or give it more memory";
    match budget {
        budget if budget > limit => Finding::fail(NAME, found, fix),
        budget if budget > limit / 4 * 3 => Finding::warn(NAME, found, fix),
        _ => Finding::ok(NAME, found),
    }
}

/// By the bounds of docs/limits.md, all of them reached at once.
fn budget(config: &Config, role: Role, partitions: u32) -> u64 {
    let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let kafka = config.kafka.brokers.is_some();
    let partitions = u64::from(partitions);
    let mut parts = vec![PROCESS_BYTES];
    if role.takes_webhooks() {
        parts.push(bytes(config.ingress.inflight_bytes_max));
        parts.push(if kafka { bytes(config.kafka.append_bytes_max) } else { 0 });
    }
    if role.folds() {
        parts.push(bytes(config.store.block_cache_bytes));
        parts.push(bytes(config.store.write_buffer_bytes_total).saturating_mul(STORE_BUFFERS));
        let batches = bytes(config.processor.batch_bytes_max).saturating_mul(BATCHES);
        let ahead = if kafka { READ_AHEAD_BYTES } else { 0 };
        parts.push(partitions.saturating_mul(batches.saturating_add(ahead)));
    }
    if !kafka {
        let log = &config.log;
        parts.extend([log.queue_bytes_max, log.block_cache_bytes].map(bytes));
        parts.push(bytes(log.write_buffer_bytes).saturating_mul(LOG_BUFFERS));
    }
    parts.into_iter().fold(0, u64::saturating_add)
}

/// The least of what the control group and the machine give.
fn memory_limit(read: impl Fn(&str) -> Option<String>) -> Option<(u64, &'static str)> {
    let number = |path| read(path)?.trim().parse::<u64>().ok();
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = groups.into_iter().find_map(number);
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib.saturating_mul(1_024))
    });
    match (group, machine) {
        (Some(group), Some(machine)) if group >= machine => Some((machine, "of the machine")),
        (Some(group), _) => Some((group, "of the control group")),
        (None, Some(machine)) => Some((machine, "of the machine")),
        (None, None) => None,
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 10 << 30 => format!("{} GiB", bytes >> 30),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use tickfold_ingress::{Secret, VerifyToken};

    use super::super::Status;
    use super::*;
    use crate::config::Layers;

    #[test]
    fn secrets_are_judged_by_the_time() {
        let at = Timestamp::from_millis;
        let app = |until: Option<i64>, tokens: usize| App {
            name: "main".to_owned(),
            secrets: vec![Secret { active_until: until.map(at), ..Secret::new("1", "k") }],
            verify_tokens: (0..tokens).map(|_| VerifyToken::new("t")).collect(),
        };
        let status = |app: &App| secrets_of(app, at(1_000)).status;
        assert_eq!(status(&app(None, 1)), Status::Ok);
        assert_eq!(status(&app(Some(1_001 + SUCCESSOR_MS), 1)), Status::Ok);
        assert_eq!(status(&app(Some(1_001), 1)), Status::Warn);
        assert_eq!(status(&app(Some(1_000), 1)), Status::Fail);
        assert_eq!(status(&app(None, 0)), Status::Warn);
    }

    #[test]
    fn memory_is_that_of_the_group_or_the_machine_whichever_is_less() {
        let machine = "MemFree: 1 kB\nMemTotal:        2048 kB\n";
        let with = |group: Option<&'static str>| {
            memory_limit(|path| match path {
                "/sys/fs/cgroup/memory.max" => group.map(str::to_owned),
                "/proc/meminfo" => Some(machine.to_owned()),
                _ => None,
            })
        };
        assert_eq!(with(None), Some((2 << 20, "of the machine")));
        assert_eq!(with(Some("max\n")), Some((2 << 20, "of the machine")));
        assert_eq!(with(Some("1048576\n")), Some((1 << 20, "of the control group")));
        assert_eq!(with(Some("9223372036854771712\n")), Some((2 << 20, "of the machine")));
        assert_eq!(memory_limit(|_| None), None);
        let judged = |budget| judge_memory(budget, 1_000, "of the machine").status;
        assert_eq!([750, 751, 1_001].map(judged), [Status::Ok, Status::Warn, Status::Fail]);
    }

    #[test]
    fn what_is_kept_in_memory_more_than_once_is_counted_so() {
        let mib = |file: &str, role| {
            let mut layers = Layers::defaults().unwrap();
            layers.file("f", file).unwrap();
            budget(&layers.read().unwrap(), role, 32) >> 20
        };
        let settings = "[store]\nblock_cache_bytes = \"1000MiB\"\nwrite_buffer_bytes_total = \"100MiB\"\n\
                        [processor]\nbatch_bytes_max = \"10MiB\"\n[ingress]\ninflight_bytes_max = \"50MiB\"\n\
                        [log]\nqueue_bytes_max = \"5MiB\"\nwrite_buffer_bytes = \"20MiB\"\nblock_cache_bytes = \"7MiB\"\n";
        let folding = 1_000 + 2 * 100;
        let embedded = 192 + folding + 32 * 2 * 10 + 50 + 5 + 3 * 20 + 7;
        assert_eq!(mib(settings, Role::Up), embedded);
        let kafka = format!(
            "{settings}[kafka]\nbrokers = \"127.0.0.1:9092\"\nappend_bytes_max = \"9MiB\"\n"
        );
        assert_eq!(mib(&kafka, Role::Processor), 192 + folding + 32 * (2 * 10 + 8));
        assert_eq!(mib(&kafka, Role::Ingress), 192 + 50 + 9);
    }

    #[test]
    fn space_is_judged_by_what_is_left() {
        let judged = |free| judge_space(Path::new("/"), free, 1 << 40).status;
        assert_eq!(judged((512 << 20) - 1), Status::Fail);
        assert_eq!(judged(512 << 20), Status::Warn);
        assert_eq!(judged((1 << 40) / 20 - 1), Status::Warn);
        assert_eq!(judged((1 << 40) / 20), Status::Ok);
    }
}
