//! What the runs have cost, side by side.

use super::run::Pass;
use super::{SYSTEMS, System};

type Runs = [(System, Vec<Pass>)];

/// Median, least and most.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of a system that did not run every figure is NaN.
    fn of(runs: &Runs, system: System, which: Which, figure: impl Fn(&Pass) -> f64) -> Spread {
        let of_system = runs.iter().filter(|(of, _)| *of == system);
        let mut figures: Vec<f64> = of_system.map(|(_, passes)| figure(which(passes))).collect();
        if figures.is_empty() {
            figures.push(f64::NAN);
        }
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Spread { median: f64::midpoint(low, high), min: figures[0], max: figures[figures.len() - 1] }
    }

    fn told(&self) -> String {
        format!("{:.0} ({:.0} to {:.0})", self.median, self.min, self.max)
    }
}

/// Which pass of a run is looked at.
type Which = fn(&[Pass]) -> &Pass;

pub fn print(runs: &Runs) {
    costs("last pass", runs, |passes| &passes[passes.len() - 1]);
    println!();
    costs("first pass", runs, |passes| &passes[0]);
}

fn costs(what: &str, runs: &Runs, which: Which) {
    println!(
        "| {what} | CPU a record, ns | over the consumer | over Plimsoll | over Plimsoll, this job | peak MiB | records/s |\n\
         |---|---|---|---|---|---|---|"
    );
    let median = |system| Spread::of(runs, system, which, Pass::ns).median;
    let [raw, all, same] = [System::Raw, System::Plimsoll, System::PlimsollTheSame].map(median);
    let ran = |system: &System| runs.iter().any(|(of, _)| of == system);
    for system in SYSTEMS.into_iter().filter(ran) {
        let cost = Spread::of(runs, system, which, Pass::ns);
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.0} | {} |",
            system.name(),
            cost.told(),
            cost.median / raw,
            cost.median / all,
            cost.median / same,
            Spread::of(runs, system, which, |pass| pass.peak_kib as f64 / 1024.0).max,
            Spread::of(runs, system, which, Pass::rate).told(),
        );
    }
}
