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
    /// None of no figures.
    fn of(mut figures: Vec<f64>) -> Option<Spread> {
        figures.sort_by(f64::total_cmp);
        let (&min, &max) = (figures.first()?, figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), min, max })
    }

    fn told(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.min, self.max)
    }
}

/// Which pass of a run is looked at.
type Which = fn(&[Pass]) -> &Pass;

pub fn print(runs: &Runs) {
    costs("last pass", runs, |passes| &passes[passes.len() - 1]);
    if runs.iter().any(|(_, passes)| passes.len() > 1) {
        println!();
        costs("first pass", runs, |passes| &passes[0]);
    }
}

fn costs(what: &str, runs: &Runs, which: Which) {
    println!(
        "| {what} | CPU a record, ns | over the consumer | its share, by rounds | over Plimsoll | over Plimsoll, this job | peak MiB | records/s |\n\
         |---|---|---|---|---|---|---|---|"
    );
    // In the order of the rounds, of which each has every system once.
    let figures = |system: System, figure: &dyn Fn(&Pass) -> f64| -> Vec<f64> {
        runs.iter().filter(|(of, _)| *of == system).map(|(_, passes)| figure(which(passes))).collect()
    };
    let raw = figures(System::Raw, &Pass::ns);
    for system in SYSTEMS {
        let costs = figures(system, &Pass::ns);
        let shares = raw.iter().zip(&costs).map(|(raw, cost)| raw / cost).collect();
        let Some(cost) = Spread::of(costs) else { continue };
        let over = |base: System| match Spread::of(figures(base, &Pass::ns)) {
            Some(base) => format!("{:.1}", cost.median / base.median),
            None => "not run".to_owned(),
        };
        let told = |spread: Option<Spread>, digits: usize| {
            spread.map_or("not run".to_owned(), |spread| spread.told(digits))
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.0} | {} |",
            system.name(),
            cost.told(0),
            over(System::Raw),
            told(Spread::of(shares), 2),
            over(System::Plimsoll),
            over(System::PlimsollTheSame),
            figures(system, &|pass| pass.peak_kib as f64 / 1024.0).into_iter().fold(0.0, f64::max),
            told(Spread::of(figures(system, &Pass::rate)), 0),
        );
    }
}
