//! The JSON Schema of `AlertRules` and the parser know the same keys.

use plimsoll::config::parse_rules;
use serde_json::Value;
use std::collections::BTreeSet;

use super::document;

type Keys = BTreeSet<String>;

fn schema() -> Value {
    serde_json::from_str(&std::fs::read_to_string("schemas/alert-rules.schema.json").unwrap()).unwrap()
}

/// The properties of the object at `pointer`.
fn properties(schema: &Value, pointer: &str) -> Keys {
    let object = schema.pointer(pointer).and_then(|at| at["properties"].as_object());
    object.unwrap_or_else(|| panic!("{pointer}")).keys().cloned().collect()
}

/// The keys that the parser takes where `LOOK` stands: it is like none of them, so all are offered instead.
fn offered(text: &str) -> Keys {
    let text = text.replace("LOOK", "quite_another_thing_altogether: 1");
    let wrong = parse_rules(&[document("shop.yaml", &text)]).expect_err("no key is called so");
    let unknown = |message: &str| message == "`quite_another_thing_altogether` is not a key here";
    let said = wrong.list.iter().find(|d| unknown(&d.message)).unwrap_or_else(|| panic!("{wrong}"));
    let keys = said.help.strip_prefix("known here: ").unwrap_or_else(|| panic!("{wrong}"));
    keys.split(", ").map(str::to_owned).collect()
}

fn rules(rule: &str) -> String {
    format!(
        "apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {{name: shop}}\nspec:\n  rules:\n    - {{{rule}}}\n"
    )
}

/// Kind -> its clause.
fn clauses(schema: &Value) -> Vec<(&str, &Value)> {
    let clauses = schema.pointer("/$defs/rule/allOf").and_then(Value::as_array).unwrap();
    let kind = |at: usize| clauses[at].pointer("/if/properties/kind/const").and_then(Value::as_str).unwrap();
    (0..clauses.len()).map(|at| (kind(at), &clauses[at]["then"])).collect()
}

#[test]
fn documents_have_the_same_keys() {
    let schema = schema();
    let frame = "apiVersion: plimsoll.dev/v1\nkind: AlertRules\nmetadata: {name: shop}\n";
    assert_eq!(offered(&format!("{frame}LOOK\n")), properties(&schema, ""));
    let metadata = frame.replace("name: shop", "name: shop, LOOK") + "spec: {rules: []}\n";
    assert_eq!(offered(&metadata), properties(&schema, "/properties/metadata"));
    assert_eq!(offered(&format!("{frame}spec: {{LOOK}}\n")), properties(&schema, "/properties/spec"));
    let defaults = offered(&format!("{frame}spec: {{defaults: {{LOOK}}}}\n"));
    assert_eq!(defaults, properties(&schema, "/properties/spec/properties/defaults"));
    let part = offered(&rules("name: a, kind: COMPOSITE, parts: [{LOOK}, {LOOK}]"));
    assert_eq!(part, properties(&schema, "/$defs/part"));
}

#[test]
fn every_kind_has_the_same_keys() {
    let schema = schema();
    let clauses = clauses(&schema);
    let kinds: Vec<&str> = clauses.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(schema.pointer("/$defs/rule/properties/kind/enum"), Some(&serde_json::json!(kinds)));
    let said =
        parse_rules(&[document("shop.yaml", &rules("name: a, kind: quite_another_kind"))]).unwrap_err();
    assert_eq!(said.list[0].help, format!("known here: {}", kinds.join(", ")));
    let mut all = Keys::new();
    for (kind, clause) in clauses {
        let names = clause.pointer("/propertyNames/enum").and_then(Value::as_array).unwrap();
        let names: Keys = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        assert_eq!(offered(&rules(&format!("name: a, kind: {kind}, LOOK"))), names, "{kind}");
        all.extend(names);
        let levels = clause["patternProperties"].as_object().unwrap();
        let (words, level) = levels.iter().next().unwrap();
        assert_eq!((levels.len(), words.as_str()), (1, "^(critical|high|warning|low)$"));
        let level = level["$ref"].as_str().unwrap().trim_start_matches('#');
        let of_level = offered(&rules(&format!("name: a, kind: {kind}, low: {{LOOK}}")));
        assert_eq!(of_level, properties(&schema, level), "a level of {kind}");
    }
    assert_eq!(all, properties(&schema, "/$defs/rule"), "no property is without a kind");
}
