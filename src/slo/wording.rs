//! Comparisons against the words that describe them: `op: lte` under "exceeds 2".

use super::finding::{Finding, Lint, Weight};
use super::place::{children, entry, scalar};
use crate::config::yaml::Node;
use crate::core::alert::Side;

const ABOVE: [&str; 5] = ["exceed", "above", "more than", "greater than", "higher than"];
const BELOW: [&str; 6] = ["below", "less than", "fewer than", "lower than", "drops under", "falls under"];
const DESCRIPTIONS: [&str; 3] = ["summary", "description", "displayName"];

/// Adds a finding for every comparison in `node` that its nearest description contradicts.
pub fn contradictions(node: &Node, findings: &mut Vec<Finding>) {
    walk(node, None, findings);
}

fn walk<'n>(node: &'n Node, outer: Option<(Side, &'n str)>, findings: &mut Vec<Finding>) {
    let texts = DESCRIPTIONS.into_iter().filter_map(|key| entry(node, key)).filter_map(scalar);
    let said = texts.filter_map(|text| Some((side_of_words(text)?, text))).next().or(outer);
    if let (Some((means, how)), Some((said, text))) = (comparison(node), said)
        && means != said
    {
        let (file, line) = (node.place.file.to_string(), node.place.line);
        findings.push(Finding {
            file,
            line,
            subject: String::new(),
            weight: Weight::Warning,
            lint: Lint::OpAgainstWords,
            message: format!("`{how}` is the opposite of what \"{text}\" says"),
            help: "turn the comparison round, or say in words what it does".into(),
        });
    }
    children(node).into_iter().for_each(|child| walk(child, said, findings));
}

fn comparison(node: &Node) -> Option<(Side, String)> {
    if let Some(op) = entry(node, "op").and_then(scalar) {
        let side = match op {
            "gt" | "gte" => Side::Above,
            "lt" | "lte" => Side::Below,
            _ => return None,
        };
        return Some((side, format!("op: {op}")));
    }
    let key = |key: &str| entry(node, key).and_then(scalar).map(|value| format!("{key}: {value}"));
    let above = key("above").map(|how| (Side::Above, how));
    above.or_else(|| key("below").map(|how| (Side::Below, how)))
}

/// None: the words speak of neither, or of both.
fn side_of_words(text: &str) -> Option<Side> {
    let text = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match (has(&ABOVE), has(&BELOW)) {
        (true, false) => Some(Side::Above),
        (false, true) => Some(Side::Below),
        (true, true) | (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Document;
    use crate::slo::place::Places;

    /// The line it complains of.
    fn complains(text: &str) -> Option<usize> {
        let places = Places::of(&[Document { path: "a.yaml".into(), text: text.into() }]);
        let mut findings = Vec::new();
        places.roots().iter().for_each(|root| contradictions(root, &mut findings));
        assert!(findings.len() < 2, "{findings:?}");
        findings.first().map(|found| found.line)
    }

    #[test]
    fn a_comparison_is_held_against_its_nearest_description() {
        // As in the example of the OpenSLO specification.
        let example = "spec:
  description: If the burn rate exceeds 2
  condition: {kind: burnrate, op: lte, threshold: 2}
";
        assert_eq!(complains(example), Some(3));
        assert_eq!(complains(&example.replace("lte", "gt")), None);
        assert_eq!(complains("{description: Lag below 5 s., objectives: [{op: lt, value: 5}]}"), None);
        assert_eq!(complains("{summary: fewer than wanted, warning: {above: 5%}}"), Some(1));
        assert_eq!(complains("{summary: more than one or less than none, warning: {above: 5%}}"), None);
        let inner = "{description: more than 5, rules: [{summary: drops under 5, low: {below: 5}}]}";
        assert_eq!(complains(inner), None, "the inner words count");
    }
}
