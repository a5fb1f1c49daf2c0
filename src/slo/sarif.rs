//! Findings as SARIF 2.1.0, the form that code hosts show beside the lines.

use serde_json::{Value, json};

use super::finding::{Finding, Lint};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub fn sarif(findings: &[Finding], version: &str) -> Value {
    let about = |lint: Lint| json!({"id": lint.name(), "shortDescription": {"text": lint.about()}});
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "plimsoll",
                "version": version,
                "rules": Lint::ALL.map(about),
            }},
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let subject = match finding.subject.as_str() {
        "" => String::new(),
        subject => format!("{subject}: "),
    };
    let mut location = serde_json::Map::new();
    if !finding.file.is_empty() {
        let mut physical = json!({"artifactLocation": {"uri": finding.file.replace('\\', "/")}});
        if finding.line > 0 {
            physical["region"] = json!({"startLine": finding.line});
        }
        location.insert("physicalLocation".into(), physical);
    }
    if !finding.subject.is_empty() {
        location.insert("logicalLocations".into(), json!([{"fullyQualifiedName": finding.subject}]));
    }
    json!({
        "ruleId": finding.lint.name(),
        "level": finding.weight.name(),
        "message": {"text": format!("{subject}{}\nhelp: {}", finding.message, finding.help)},
        "locations": [location],
    })
}
