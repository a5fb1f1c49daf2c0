//! What a benchmark reads of its settings and of the processes it starts.

// Each bench that includes this uses a part of it.
#![allow(dead_code)]

use std::fs;

/// Ticks of `/proc/self/stat` in a second, on every Linux.
const TICKS: f64 = 100.0;

/// A setting from the environment.
pub fn number(name: &str, default: i64) -> i64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// CPU seconds of all child processes that have ended.
pub fn children_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[13..15].iter().map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}

/// Most memory a process has had so far; 0 once it is gone.
pub fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
