//! What a process costs, as Linux's procfs tells it (proc(5)).

use std::time::Duration;

use anyhow::Context;

/// Resident memory in bytes.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .with_context(|| format!("no VmRSS in {path}"))?;
    let kilobytes: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .with_context(|| format!("VmRSS in {path}"))?;
    Ok(kilobytes * 1024)
}

/// Processor time used so far.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in parentheses may hold blanks; utime and stime are the 12th and 13th fields after it.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .with_context(|| path.clone())?
        .1
        .split_whitespace()
        .collect();
    let ticks = |index: usize| -> anyhow::Result<u64> {
        Ok(fields.get(index).with_context(|| format!("{path} is short"))?.parse()?)
    };
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(
        (ticks(11)? + ticks(12)?) * 1000 / per_second.max(1),
    ))
}
