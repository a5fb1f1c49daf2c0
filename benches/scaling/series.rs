//! Keys of one hourly table: what a record costs and what an hour of a key holds, the more keys there are.

use crate::chart::{self, Line, Panel};
use crate::path::{Path, resident_bytes, table_rules};
use crate::table::{Figures, Table, grouped, kib, mib, run, verdict};
use crate::traffic::{Spread, Traffic};

pub const SERIES: [(f64, &str); 4] =
    [(300.0, "300"), (3_000.0, "3,000"), (30_000.0, "30,000"), (100_000.0, "100,000")];
/// 7,000 records a second.
const PER_SECOND: u64 = 7_000;
pub const PER_HOUR: u64 = PER_SECOND * 3_600;
/// Records whose cost is taken, each way of flushing.
const TIMED: u64 = 700_000;
/// Before them, so that nearly every key has its row.
const WARM_UP: u64 = 700_000;
/// Under lag ingest flushes once a second (`src/roles/pace.rs`), which is about so many records.
const BACKLOG: u64 = 350_000;
/// Bytes an open hour of a series may take.
const HOUR_TARGET: f64 = 20.0 * 1024.0;
/// `limit` of `request_log_hourly` as it ships.
const SHIPPED_LIMIT: u32 = 20_000;
/// What each hour brings whose keys exceed the limit, and how many are open at once: rows may be late by two.
const BEYOND_PER_HOUR: u64 = 1_000_000;
const OPEN_HOURS: u64 = 3;
/// Partitions of the partials as they ship: of the hour one shard's part is filled, which is enough to divide by.
const SHARDS: u64 = 12;

/// A flush a second, or one as full as a backlog makes it.
const FLUSHES: [&str; 2] = ["second", "backlog"];

pub fn report() {
    println!("\n## Series of one hourly table");
    let mut table = Table::new(&[
        "series",
        "spread",
        "flush",
        "ingest a record",
        "shard a record",
        "partials a record",
        "deltas a record",
    ]);
    let (mut ingest, mut shard) = (Vec::new(), Vec::new());
    for (spread, flush) in Spread::ALL.into_iter().flat_map(|spread| FLUSHES.map(|flush| (spread, flush))) {
        let line = |what: &str| Line {
            name: format!("{what}, {}, a flush by the {flush}", spread.name()),
            points: Vec::new(),
        };
        ingest.push(line("ingest"));
        shard.push(line("shard"));
        for (series, name) in SERIES {
            let cost = run(&format!("series-cost {series} {} {flush}", spread.name()));
            let (ingest_ns, shard_ns) = (cost.get("ingest_ns"), cost.get("shard_ns"));
            table.row(&[
                name.into(),
                spread.name().into(),
                flush.into(),
                format!("{ingest_ns:.0} ns"),
                format!("{shard_ns:.0} ns"),
                format!("{:.1} B", cost.get("partial_bytes")),
                format!("{:.3}", cost.get("deltas")),
            ]);
            ingest.last_mut().unwrap().points.push((series, ingest_ns));
            shard.last_mut().unwrap().points.push((series, shard_ns));
        }
    }
    table.print("Ingest: decode, fold, flush, encode. Shard: decode the partials, apply.");
    let mut panels = vec![Panel { unit: "ns a record, ingest", lines: ingest }];
    panels.push(Panel { unit: "ns a record, shard", lines: shard });
    panels.push(report_hours());
    let path = chart::write("series", "Series of one hourly table", &SERIES, "series", &panels);
    println!("{}", path.display());
}

fn report_hours() -> Panel {
    let mut table =
        Table::new(&["series", "spread", "records a series", "memory a series", "20 KiB an open hour"]);
    let mut lines = Vec::new();
    for spread in Spread::ALL {
        let mut points = Vec::new();
        for (series, name) in SERIES {
            let hour = run(&format!("series-hour {series} {}", spread.name()));
            let (rows, held) = (hour.get("rows"), hour.get("held") / hour.get("rows"));
            table.row(&[
                name.into(),
                spread.name().into(),
                grouped(hour.get("records") / rows),
                kib(held),
                verdict(held, HOUR_TARGET).into(),
            ]);
            points.push((series, held));
        }
        lines.push(Line { name: format!("open hour, {}", spread.name()), points });
    }
    table.print(
        "An open hour at 7,000 records a second over all series. Its memory is that of one shard of twelve, the busiest.",
    );
    Panel { unit: "bytes a series in an open hour", lines }
}

pub fn report_limits() {
    println!("\n## 100,000 series at once");
    let mut table = Table::new(&[
        "limit",
        "hours open",
        "rows an hour",
        "records in _OTHER",
        "memory",
        "resident",
        "peak of the process",
        "rows <= limit + 1",
    ]);
    for limit in [SHIPPED_LIMIT, 100_000] {
        let figures = run(&format!("series-limit 100000 {limit}"));
        let (rows, share) = (figures.get("rows"), figures.get("other") / figures.get("records"));
        table.row(&[
            grouped(limit.into()),
            format!("{:.0}", figures.get("hours")),
            grouped(rows),
            format!("{:.1} %", share * 100.0),
            mib(figures.get("held")),
            mib(figures.get("resident")),
            mib(figures.get("peak")),
            verdict(rows, f64::from(limit) + 1.0).into(),
        ]);
    }
    table.print("Three hours of 1,000,000 records each, uniform over 100,000 keys, in one shard.");
}

pub fn cost(series: u64, spread: Spread, flush: &str) -> Figures {
    let mut traffic = Traffic::new(series, spread, PER_HOUR);
    let mut path = Path::new(table_rules(series as u32));
    for n in 1..=WARM_UP {
        let request = traffic.next();
        path.take_decoded(&traffic, &request);
        if n % BACKLOG == 0 {
            path.flush();
        }
    }
    path.spent = Default::default();
    let mut left = TIMED;
    while left > 0 {
        let records: Vec<_> = (0..left.min(PER_SECOND)).map(|_| traffic.next()).collect();
        let records: Vec<_> = records.iter().map(|request| (request.at_us, traffic.json(request))).collect();
        path.take(&records);
        left -= records.len() as u64;
        let is_full = path.pending().1 >= BACKLOG;
        if flush == FLUSHES[0] || is_full || left == 0 {
            path.flush();
        }
    }
    let (mut figures, spent) = (Figures::default(), path.spent);
    figures.set("ingest_ns", spent.ingest_ns());
    figures.set("shard_ns", spent.shard_ns());
    figures.set("partial_bytes", spent.partial_bytes as f64 / spent.records as f64);
    figures.set("deltas", spent.deltas as f64 / spent.records as f64);
    figures
}

pub fn hour(series: u64, spread: Spread) -> Figures {
    let per_hour = std::env::var("PLIMSOLL_BENCH_RECORDS").map_or(PER_HOUR, |text| text.parse().unwrap());
    fill(Traffic::new(series, spread, per_hour), series as u32, (per_hour, 1), SHARDS)
}

pub fn limit(series: u64, limit: u32) -> Figures {
    let traffic = Traffic::new(series, Spread::Uniform, BEYOND_PER_HOUR);
    fill(traffic, limit, (BEYOND_PER_HOUR, OPEN_HOURS), 1)
}

/// Memory after some hours of so many records each, of which those of one series in `every` are folded.
fn fill(mut traffic: Traffic, limit: u32, (per_hour, hours): (u64, u64), every: u64) -> Figures {
    let before_bytes = resident_bytes().0;
    let mut path = Path::new(table_rules(limit));
    path.counts_memory = true;
    let (mut drawn, mut records) = (0, 0u64);
    while drawn < per_hour * hours {
        let (request, skipped) = traffic.next_of(every);
        drawn += skipped + 1;
        if drawn > per_hour * hours {
            break;
        }
        path.take_decoded(&traffic, &request);
        records += 1;
        if records % (BACKLOG / every) == 0 {
            path.flush();
        }
    }
    path.flush();
    let (resident, peak) = resident_bytes();
    let other: u64 = path.shard.take_other().values().sum();
    let mut figures = Figures::default();
    figures.set("records", records as f64);
    figures.set("rows", path.shard.series().map(|(_, rows, _)| rows).sum::<usize>() as f64);
    figures.set("hours", hours as f64);
    figures.set("other", other as f64);
    figures.set("held", path.shard_bytes as f64);
    figures.set("resident", resident.saturating_sub(before_bytes) as f64);
    figures.set("peak", peak as f64);
    figures
}
