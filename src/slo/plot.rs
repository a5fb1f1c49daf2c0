//! Budgets over time as an SVG picture: no script, no fonts of its own, legible without colours.

use std::fmt::Write;
use std::ops::Range;

use crate::core::time::{SECOND_US, rfc3339};

const WIDTH: i64 = 960;
const LEFT: i64 = 80;
const RIGHT: i64 = 30;
const TOP: i64 = 60;
const HEIGHT: i64 = 320;
const LEGEND_ROW: i64 = 20;
/// More lines than this nobody can tell apart.
const LINES: usize = 12;
/// Told apart by most who cannot see all colours.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#000000"];
/// A budget overspent further than this is drawn at the edge, or all others would be one line.
const LOWEST_PERCENT: i64 = -100;
const HOUR_S: i64 = 3_600;
const STEPS_S: [i64; 14] = [
    60,
    300,
    600,
    1_800,
    HOUR_S,
    2 * HOUR_S,
    6 * HOUR_S,
    12 * HOUR_S,
    24 * HOUR_S,
    48 * HOUR_S,
    168 * HOUR_S,
    336 * HOUR_S,
    720 * HOUR_S,
    2_160 * HOUR_S,
];

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct PlotLine<'a> {
    pub name: String,
    /// The second version of the rules.
    pub dashed: bool,
    /// (second, share in billionths), ascending.
    pub points: &'a [(i64, i64)],
}

#[derive(Clone, Debug)]
pub struct Plot<'a> {
    pub title: String,
    pub from_s: i64,
    pub to_s: i64,
    pub lines: Vec<PlotLine<'a>>,
}

impl Plot<'_> {
    /// The picture. Of too many lines those are drawn that fell the lowest, and the legend says how many are left out.
    pub fn svg(&self) -> String {
        let mut drawn: Vec<&PlotLine<'_>> = self.lines.iter().collect();
        drawn.sort_by_key(|line| (lowest(line), line.dashed));
        let left_out = drawn.len().saturating_sub(LINES);
        drawn.truncate(LINES);
        drawn.sort_by_key(|line| (&line.name, line.dashed));
        let rows = drawn.len() as i64 + i64::from(left_out > 0) + i64::from(drawn.is_empty());
        let full_height = TOP + HEIGHT + 70 + rows * LEGEND_ROW;
        let axes = Axes { from_s: self.from_s, to_s: self.to_s.max(self.from_s + 1), floor: floor(&drawn) };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{full_height}\" \
             viewBox=\"0 0 {WIDTH} {full_height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            title = escaped(&self.title)
        );
        label(&mut svg, LEFT, 30, "start", "17", &self.title);
        axes.draw(&mut svg);
        for (at, line) in drawn.iter().enumerate() {
            let style = style(at, line.dashed);
            let points: Vec<String> = line.points.iter().map(|point| axes.place(*point)).collect();
            push(&mut svg, format_args!("<polyline {style} points=\"{}\"/>", points.join(" ")));
            legend_row(&mut svg, at, Some(&style), &line.name);
        }
        match (drawn.len(), left_out) {
            (0, _) => legend_row(&mut svg, 0, None, "no objective had a budget in this time"),
            (_, 0) => {}
            (rows, more) => legend_row(&mut svg, rows, None, &format!("{more} more, which fell less far")),
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// How seconds and shares become places in the picture.
struct Axes {
    from_s: i64,
    to_s: i64,
    /// Share at the lower edge, in percent.
    floor: i64,
}

impl Axes {
    fn x(&self, at_s: i64) -> f64 {
        let along = (at_s - self.from_s) as f64 / (self.to_s - self.from_s) as f64;
        LEFT as f64 + along * (WIDTH - LEFT - RIGHT) as f64
    }

    fn y(&self, percent: f64) -> f64 {
        let down = (100.0 - percent.clamp(self.floor as f64, 100.0)) / (100 - self.floor) as f64;
        TOP as f64 + down * HEIGHT as f64
    }

    fn place(&self, (at_s, billionths): (i64, i64)) -> String {
        format!("{:.1},{:.1}", self.x(at_s), self.y(billionths as f64 / 1e7))
    }

    fn draw(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, TOP + HEIGHT);
        let step = if 100 - self.floor > 50 { 25 } else { 10 };
        for percent in (self.floor..=100).filter(|percent| percent % step == 0) {
            let y = self.y(percent as f64);
            let colour = if percent == 0 { "#555555" } else { "#dddddd" };
            let line = format_args!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"{colour}\"/>");
            push(svg, line);
            label(svg, LEFT - 8, y as i64 + 4, "end", "13", &format!("{percent} %"));
        }
        let step_s = self.step_s();
        let first_s = self.from_s + (-self.from_s).rem_euclid(step_s);
        for at_s in (0..).map(|n| first_s + n * step_s).take_while(|at_s| *at_s <= self.to_s) {
            let x = self.x(at_s);
            push(svg, format_args!("<path d=\"M{x:.1} {bottom}v6\" stroke=\"#555555\"/>"));
            label(svg, x as i64, bottom + 22, "middle", "13", &moment(at_s, step_s));
        }
        push(
            svg,
            format_args!("<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#555555\"/>"),
        );
        label(svg, (LEFT + right) / 2, bottom + 44, "middle", "13", "time (UTC)");
        let middle = TOP + HEIGHT / 2;
        let turned = format_args!(
            "<text x=\"18\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {middle})\">error budget \
             left (%)</text>"
        );
        push(svg, turned);
    }

    /// Seconds between two marks, of which there are at most eight.
    fn step_s(&self) -> i64 {
        let fits = |step_s: &i64| (self.to_s - self.from_s) / step_s <= 7;
        STEPS_S.into_iter().find(fits).unwrap_or((self.to_s - self.from_s) / 4)
    }
}

fn lowest(line: &PlotLine<'_>) -> i64 {
    line.points.iter().map(|(_, left)| *left).min().unwrap_or(i64::MAX)
}

/// The lower edge: zero, or the quarter below the lowest.
fn floor(lines: &[&PlotLine<'_>]) -> i64 {
    let lowest = lines.iter().map(|line| lowest(line)).min().unwrap_or(0).min(0);
    (lowest.div_euclid(250_000_000) * 25).max(LOWEST_PERCENT)
}

fn style(at: usize, dashed: bool) -> String {
    let colour = COLOURS[at % COLOURS.len()];
    let dash = if dashed { " stroke-dasharray=\"7 4\"" } else { "" };
    // Lines that share a colour differ in width.
    let width = if at < COLOURS.len() { "2" } else { "4" };
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dash}")
}

fn legend_row(svg: &mut String, row: usize, style: Option<&str>, name: &str) {
    let y = TOP + HEIGHT + 70 + row as i64 * LEGEND_ROW;
    if let Some(style) = style {
        push(svg, format_args!("<path d=\"M{LEFT} {}h30\" {style}/>", y - 4));
    }
    label(svg, LEFT + 40, y, "start", "13", name);
}

fn label(svg: &mut String, x: i64, y: i64, anchor: &str, size: &str, text: &str) {
    let text = escaped(text);
    push(
        svg,
        format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"),
    );
}

/// A line of the file.
fn push(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    let _ = writeln!(svg, "{line}");
}

/// `02:15`, and the day where marks are half a day apart or more.
fn moment(at_s: i64, step_s: i64) -> String {
    let full = rfc3339(at_s.saturating_mul(SECOND_US));
    let part = |range: Range<usize>| full.get(range).unwrap_or(&full).to_owned();
    match step_s {
        step_s if step_s < 6 * HOUR_S => part(11..16),
        step_s if step_s < 24 * HOUR_S => part(5..16).replace('T', " "),
        _ => part(0..10),
    }
}

/// Text as XML takes it; control characters have no place in XML at all.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_says_what_it_shows() {
        let points = [(0, 1_000_000_000), (1_800, 500_000_000), (3_600, -300_000_000)];
        let lines = vec![PlotLine { name: "a/b {x=<&>}".into(), dashed: false, points: &points }];
        let svg = Plot { title: "Budget".into(), from_s: 0, to_s: 3_600, lines }.svg();
        // From 100 % at the top to -50 % at the bottom, over an hour.
        assert!(svg.contains("points=\"80.0,60.0 505.0,166.7 930.0,337.3\""), "{svg}");
        for text in [">a/b {x=&lt;&amp;&gt;}<", ">time (UTC)<", "left (%)<", ">-50 %<", ">00:30<", ">Budget<"]
        {
            assert!(svg.contains(text), "{text} in {svg}");
        }
    }

    #[test]
    fn the_worst_of_many_are_drawn() {
        let points: Vec<[(i64, i64); 1]> = (0..20).map(|n| [(5, n * 1_000)]).collect();
        let line = |(n, points): (usize, &'static [(i64, i64); 1])| PlotLine {
            name: format!("line {n:02}"),
            dashed: false,
            points,
        };
        let lines = points.leak().iter().enumerate().map(line).collect();
        let svg = Plot { title: String::new(), from_s: 0, to_s: 10, lines }.svg();
        assert_eq!(svg.matches("<polyline").count(), LINES);
        assert!(svg.contains(">line 11<") && !svg.contains(">line 12<") && svg.contains(">8 more, which"));
    }
}
