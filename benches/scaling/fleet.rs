//! Whole deployments: how fast a backlog is drained and what that takes, the more partitions, workers or replicas there are.

use crate::chart::{self, Line, Panel};
use crate::table::{Figures, Table, grouped, mib, run};

const PARTITIONS: [(f64, &str); 4] = [(3.0, "3"), (12.0, "12"), (48.0, "48"), (96.0, "96")];
const MEMBERS: [(f64, &str); 4] = [(1.0, "1"), (2.0, "2"), (3.0, "3"), (4.0, "4")];

pub fn report_partitions() {
    let title = "Partitions of each input, one replica with one worker, on a core of its own";
    report("partitions", title, "partitions", &PARTITIONS, |size| format!("drain {size} 1 1 apart"));
}

pub fn report_workers() {
    let title = "Workers of each role in one replica, 12 partitions of each input";
    report("workers", title, "workers", &MEMBERS, |size| format!("drain 12 {size} 1 shared"));
}

pub fn report_replicas() {
    let title = "Replicas with one worker, 12 partitions of each input";
    report("replicas", title, "replicas", &MEMBERS, |size| format!("drain 12 1 {size} shared"));
}

fn report(name: &str, title: &str, size: &str, sizes: &[(f64, &str)], case: impl Fn(f64) -> String) {
    println!("\n## {title}");
    let mut table = Table::new(&[
        size,
        "records a second",
        "stored after",
        "CPU a record",
        "of it ingest, evaluate, clients",
        "consumer alone",
        "of that, the consumer",
        "replicas, all of two cores",
        "peak of a process",
        "peaks together",
    ]);
    let mut lines = ["records a second", "replicas", "consumer alone", "a process", "together"]
        .map(|name| Line { name: name.into(), points: Vec::new() });
    for &(size, size_name) in sizes {
        let figures = run(&case(size));
        table.row(&row(size_name, &figures));
        let points = ["rate", "ns", "raw_ns", "largest_kib", "summed_kib"];
        for (line, figure) in lines.iter_mut().zip(points) {
            line.points.push((size, figures.get(figure)));
        }
    }
    table.print("A backlog drained by replicas with all roles and all that ships, exactly-once on; every event is in its rows.");
    let [rate, fleet, alone, largest, summed] = lines;
    let panels = [
        Panel { unit: "records a second", lines: vec![rate] },
        Panel { unit: "ns of CPU a record, all processes", lines: vec![fleet, alone] },
        Panel { unit: "KiB at most", lines: vec![largest, summed] },
    ];
    println!("{}", chart::write(name, title, sizes, size, &panels).display());
}

fn row(size: &str, figures: &Figures) -> [String; 10] {
    let whole = |name: &str| format!("{:.0}", figures.get(name));
    let percent = |name: &str| format!("{:.0} %", figures.get(name) * 100.0);
    [
        size.into(),
        grouped(figures.get("rate")),
        format!("{:.1} s", figures.get("stored_after_s")),
        format!("{} ns", whole("ns")),
        format!("{}, {}, {} ns", whole("ingest_ns"), whole("evaluate_ns"), whole("clients_ns")),
        format!("{} ns", whole("raw_ns")),
        format!("{:.2}", figures.get("raw_ns") / figures.get("ns")),
        format!("{}, {}", percent("fleet_share"), percent("busy_share")),
        mib(figures.get("largest_kib") * 1024.0),
        mib(figures.get("summed_kib") * 1024.0),
    ]
}
