//! What a case found, and Markdown tables of it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// Names the case to the process that runs it.
pub const CASE: &str = "PLIMSOLL_SCALING_CASE";

/// Figures by name.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.into(), value);
    }

    pub fn get(&self, name: &str) -> f64 {
        self.0[name]
    }

    /// For the process that asked.
    pub fn print(&self) {
        self.0.iter().for_each(|(name, value)| println!("{name} {value}"));
    }
}

/// Runs a case in a process of its own, so that each begins with an empty heap.
pub fn run(case: &str) -> Figures {
    eprint!("{case} ...");
    let began = std::time::Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.env(CASE, case).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{case}: {}", output.status);
    eprintln!(" {:.1} s", began.elapsed().as_secs_f64());
    let mut figures = Figures::default();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (name, value) = line.split_once(' ').unwrap();
        figures.set(name, value.parse().unwrap());
    }
    figures
}

pub struct Table {
    text: String,
}

impl Table {
    pub fn new(columns: &[&str]) -> Table {
        let mut table = Table { text: String::new() };
        table.row(columns);
        table.text.push_str(&format!("{}|\n", "|---".repeat(columns.len())));
        table
    }

    pub fn row<C: AsRef<str>>(&mut self, cells: &[C]) {
        let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
        self.text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }

    pub fn print(&self, title: &str) {
        println!("\n{title}\n\n{}", self.text);
    }
}

/// `12,345`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn kib(bytes: f64) -> String {
    format!("{:.1} KiB", bytes / 1024.0)
}

pub fn mib(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / 1024.0 / 1024.0)
}

/// Whether a figure is at most its target.
pub fn verdict(figure: f64, target: f64) -> &'static str {
    if figure <= target { "holds" } else { "does not hold" }
}
