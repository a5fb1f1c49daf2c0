//! What a benchmark reads of its settings and of the processes it starts.

// Each bench that includes this uses a part of it.
#![allow(dead_code)]

pub mod raw;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

/// Ticks of `/proc/self/stat` in a second, on every Linux.
const TICKS: f64 = 100.0;

/// A setting from the environment.
pub fn number(name: &str, default: i64) -> i64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// CPU seconds of all child processes that have ended.
pub fn children_s() -> f64 {
    ticks_s("self", 13)
}

/// User and system time of a process, in seconds.
pub fn cpu_s(pid: u32) -> f64 {
    ticks_s(&pid.to_string(), 11)
}

/// The same by the names of its threads, up to the number of a worker or of a broker.
pub fn threads_s(pid: u32) -> BTreeMap<String, f64> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let path = task.unwrap().path();
        // One that has just ended is in no file any more.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let (_, name) = stat.split_once('(').unwrap();
        let name = name.split(['/', ':', ')']).next().unwrap();
        *by_name.entry(name.to_owned()).or_default() += sum_s(&stat, 11);
    }
    by_name
}

/// Seconds of all the machine's cores together: those in which they were not idle, and all.
pub fn machine_s() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let fields = stat.lines().next().unwrap().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.map(|field| field.parse().unwrap()).collect();
    // User, nice, system, idle, waiting for disks, interrupts of both kinds, and what other machines took.
    let (all, idle) = (ticks[..8].iter().sum::<f64>(), ticks[3] + ticks[4]);
    ((all - idle) / TICKS, all / TICKS)
}

fn ticks_s(pid: &str, at: usize) -> f64 {
    sum_s(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap(), at)
}

/// Sum of a figure of a `stat` file and the one after it, counted behind the name.
fn sum_s(stat: &str, at: usize) -> f64 {
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[at..at + 2].iter().map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}

/// Values of a metric, whatever its labels.
fn samples<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    let of_name = move |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    metrics.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse().ok())
}

pub fn worst(metrics: &str, name: &str) -> f64 {
    samples(metrics, name).fold(0.0, f64::max)
}

pub fn total(metrics: &str, name: &str) -> f64 {
    samples(metrics, name).fold(0.0, |sum, sample| sum + sample)
}

/// Most memory a process has had so far; 0 once it is gone.
pub fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Keeps a process and all its threads on one core, if there are two.
pub fn pin(pid: u32, core: usize, cores: usize) {
    if cores > 1 {
        let pinned = Command::new("taskset")
            .args(["--all-tasks", "--pid", "--cpu-list", &core.to_string(), &pid.to_string()])
            .stdout(Stdio::null())
            .status();
        assert!(pinned.is_ok_and(|status| status.success()), "taskset of util-linux pins process {pid}");
    }
}
