//! Processor time and memory of this process, read when someone asks. Linux only; elsewhere the metrics are absent.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;
use std::fs;

/// Ticks of `/proc` in a second: Linux's USER_HZ, the same on every architecture Plimsoll is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Uses the names every Prometheus client gives these two.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat))
        {
            let counter = ConstCounter::new(seconds);
            let help = "User and system processor time of this process.";
            let unit = Unit::Seconds;
            counter.encode(encoder.encode_descriptor(
                "process_cpu",
                help,
                Some(&unit),
                counter.metric_type(),
            )?)?;
        }
        if let Some(bytes) =
            fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status))
        {
            let gauge = ConstGauge::new(bytes);
            let help = "Memory of this process that is in RAM.";
            let unit = Unit::Bytes;
            gauge.encode(encoder.encode_descriptor(
                "process_resident_memory",
                help,
                Some(&unit),
                gauge.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

/// `utime` and `stime`, the 14th and 15th words. The second is the program's name in brackets, which may hold
/// spaces and brackets of its own, so counting begins behind the last one.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut words = behind_name.split_whitespace().skip(11);
    let user: u64 = words.next()?.parse().ok()?;
    let system: u64 = words.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_words_of_proc() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 900 0 0 0 250 150 0 0 20 0 4 0 100 1000 200";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        let status = "Name:\tplimsoll\nVmPeak:\t    9 kB\nVmRSS:\t   12345 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes(status), Some(12_345 * 1024));
    }

    #[test]
    fn other_words_give_nothing() {
        assert_eq!([cpu_seconds(""), cpu_seconds("1 (x) S 1 2"), cpu_seconds("no bracket")], [None; 3]);
        assert_eq!([resident_bytes(""), resident_bytes("VmRSS:\t lots")], [None; 2]);
    }
}
