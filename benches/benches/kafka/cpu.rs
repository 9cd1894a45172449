//! CPU time and memory of processes, from `/proc`.

use std::fs;

use crate::Outcome;

/// CPU seconds of a process since its start, in user and kernel mode.
pub(crate) type Cpu = f64;

/// The kernel's unit of CPU time.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn of(pid: u32) -> Outcome<Cpu> {
    let fields = stat(pid).ok_or_else(|| format!("process {pid} is gone"))?;
    let ticks = |field: usize| -> Outcome<f64> {
        Ok(fields.get(field).ok_or("no CPU time in stat")?.parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The most memory that a process has had, in MiB.
pub(crate) fn peak_mib(pid: u32) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")).ok_or("no peak in status")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

/// The broker's process: the only grandchild of this one, below its guard.
pub(crate) fn broker() -> Outcome<u32> {
    let parent = |pid: u32| stat(pid)?.get(1)?.parse::<u32>().ok();
    let pids =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let me = std::process::id();
    let mut grandchildren = pids.filter(|pid| parent(*pid).and_then(parent) == Some(me));
    Ok(grandchildren.next().ok_or("the broker's process is not to be found")?)
}

/// The fields behind the name, which may contain spaces: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
