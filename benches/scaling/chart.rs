//! Curves as an SVG picture, both axes logarithmic: what doubles with the size rises with the diagonal.

use std::fmt::Write;
use std::path::PathBuf;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 60.0;
const HEIGHT: f64 = 220.0;
const LEGEND_ROW: f64 = 20.0;
/// The colours of `src/slo/plot.rs`, told apart by most who cannot see all colours.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#000000"];

pub struct Line {
    pub name: String,
    /// (size, figure), ascending, all above 0.
    pub points: Vec<(f64, f64)>,
}

/// Curves of one unit.
pub struct Panel {
    pub unit: &'static str,
    pub lines: Vec<Line>,
}

/// Writes the picture of some panels, one below the other, and gives its path.
pub fn write(name: &str, title: &str, sizes: &[(f64, &str)], size: &str, panels: &[Panel]) -> PathBuf {
    let mut svg = String::new();
    text(&mut svg, LEFT, 30.0, "start", title);
    let mut top = TOP;
    for panel in panels {
        draw(&mut svg, top, sizes, size, panel);
        top += panel_height(panel);
    }
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" viewBox=\"0 0 {WIDTH} {top}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<title>{title}</title>\n<rect width=\"100%\" \
         height=\"100%\" fill=\"#ffffff\"/>\n{svg}</svg>\n"
    );
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("scaling-{name}.svg"));
    std::fs::write(&path, svg).unwrap();
    path
}

fn panel_height(panel: &Panel) -> f64 {
    HEIGHT + 80.0 + panel.lines.len() as f64 * LEGEND_ROW
}

fn draw(svg: &mut String, top: f64, sizes: &[(f64, &str)], size: &str, panel: &Panel) {
    let all = || panel.lines.iter().flat_map(|line| &line.points);
    // Whole powers of ten around all that is shown.
    let low = all().map(|(_, y)| *y).fold(f64::MAX, f64::min).log10().floor();
    let high = all().map(|(_, y)| *y).fold(0.0, f64::max).log10().ceil().max(low + 1.0);
    let (first, last) = (sizes[0].0.ln(), sizes[sizes.len() - 1].0.ln());
    let x = |size: f64| LEFT + (size.ln() - first) / (last - first) * (WIDTH - LEFT - RIGHT);
    let y = |figure: f64| top + (high - figure.log10()) / (high - low) * HEIGHT;
    let (right, bottom) = (WIDTH - RIGHT, top + HEIGHT);
    for power in low as i32..=high as i32 {
        let at = y(10f64.powi(power));
        line(svg, &format!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/>"));
        text(svg, LEFT - 8.0, at + 4.0, "end", &crate::table::grouped(10f64.powi(power)));
    }
    for (size, name) in sizes {
        line(svg, &format!("<path d=\"M{:.1} {bottom}v6\" stroke=\"#555555\"/>", x(*size)));
        text(svg, x(*size), bottom + 22.0, "middle", name);
    }
    line(svg, &format!("<path d=\"M{LEFT} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#555555\"/>"));
    text(svg, (LEFT + right) / 2.0, bottom + 40.0, "middle", &format!("{size}; up: {}", panel.unit));
    for (at, Line { name, points }) in panel.lines.iter().enumerate() {
        // Lines that share a colour differ in their dashes.
        let dash = if at < COLOURS.len() { "" } else { " stroke-dasharray=\"7 4\"" };
        let style =
            format!("fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{dash}", COLOURS[at % COLOURS.len()]);
        let places: Vec<String> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        line(svg, &format!("<polyline {style} points=\"{}\"/>", places.join(" ")));
        let row = bottom + 62.0 + at as f64 * LEGEND_ROW;
        line(svg, &format!("<path d=\"M{LEFT} {}h30\" {style}/>", row - 4.0));
        text(svg, LEFT + 40.0, row, "start", name);
    }
}

/// The texts here have no characters that XML takes otherwise.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    line(svg, &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
}

fn line(svg: &mut String, text: &str) {
    writeln!(svg, "{text}").unwrap();
}
