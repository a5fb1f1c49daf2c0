//! What the runs have cost, side by side.

use super::run::Run;
use super::{SYSTEMS, System};

/// Median, least and most.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of a system that did not run every figure is NaN.
    fn of(runs: &[(System, Run)], system: System, figure: impl Fn(&Run) -> f64) -> Spread {
        let of_system = runs.iter().filter(|(of, _)| *of == system);
        let mut figures: Vec<f64> = of_system.map(|(_, run)| figure(run)).collect();
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

/// First the second half, which leaves out starts and most of what just-in-time compilers do, then whole runs.
pub fn print(runs: &[(System, Run)]) {
    let half = |run: &Run| run.second_records / run.second_took_s;
    costs("second half", runs, Run::second_ns, half);
    println!();
    costs("whole run", runs, Run::ns, |run| run.records / run.took_s);
}

fn costs(what: &str, runs: &[(System, Run)], ns: impl Fn(&Run) -> f64, rate: impl Fn(&Run) -> f64) {
    println!(
        "| {what} | CPU ns a record | over the consumer alone | over Plimsoll | peak MiB | records a second |\n\
         |---|---|---|---|---|---|"
    );
    let raw = Spread::of(runs, System::Raw, &ns).median;
    let plimsoll = Spread::of(runs, System::Plimsoll, &ns).median;
    let ran = |system: &System| runs.iter().any(|(of, _)| of == system);
    for system in SYSTEMS.into_iter().filter(ran) {
        let cost = Spread::of(runs, system, &ns);
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.0} | {} |",
            system.name(),
            cost.told(),
            cost.median / raw,
            cost.median / plimsoll,
            Spread::of(runs, system, |run| run.peak_kib as f64 / 1024.0).max,
            Spread::of(runs, system, &rate).told(),
        );
    }
}
