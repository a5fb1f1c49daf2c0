//! Configuration documents -> model, and what is said about wrong ones.

mod alerts;
mod conditions;
mod kinds;
mod maintenance;
mod mistakes;
mod openslo;
mod schema;
mod settings;
mod shipped;
mod shipped_slos;
mod slo_mistakes;
mod slos;
mod sources;

use plimsoll::config::{
    Diagnostics, Document, Loaded, Overrides, Surroundings, embedded_files, load, parse_rules,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

pub fn surroundings() -> Surroundings {
    Surroundings { host_name: "host-a".into(), cores: 2 }
}

pub fn load_folder(folder: &str) -> Result<Loaded, Diagnostics> {
    load(Path::new(folder), &BTreeMap::new(), &surroundings(), &Overrides::default())
}

pub fn shipped() -> Loaded {
    load_folder("config").unwrap_or_else(|wrong| panic!("{wrong}"))
}

pub fn document(path: &str, text: &str) -> Document {
    Document { path: path.into(), text: text.into() }
}

/// `field`, `rollups`: further YAML of a small source.
pub fn source_text(fields: &str, rollups: &str) -> String {
    format!(
        "apiVersion: openslo/v1
kind: DataSource
metadata: {{name: orders}}
spec:
  type: KafkaStream
  connectionDetails:
    topic: orders
    format: json
    event_time: {{field: ts}}
    fields:
      ts: {{type: timestamp}}
      shop: {{type: string}}
      price: {{type: decimal, scale: 2}}
{fields}
    rollups:
{rollups}
"
    )
}

/// The messages, without places and help.
pub fn messages(wrong: &Diagnostics) -> Vec<&str> {
    wrong.list.iter().map(|d| d.message.as_str()).collect()
}

/// Each folder holds a wrong configuration and all that is said about it.
#[test]
fn wrong_configurations_are_explained() {
    let (mut folders, mut differences) = (0, String::new());
    for entry in std::fs::read_dir("tests/fixtures/config").unwrap() {
        let folder = entry.unwrap().path();
        let expected = std::fs::read_to_string(folder.join("expected.txt")).unwrap();
        let folder = folder.to_str().unwrap();
        let said = load_folder(folder).expect_err(folder).to_string();
        if said.trim_end() != expected.trim_end() {
            differences += &format!("=== {folder}/expected.txt\n{said}\n");
        }
        folders += 1;
    }
    assert!(differences.is_empty() && folders >= 5, "{folders} folders; what is said now:\n{differences}");
}

#[test]
fn an_alias_stands_for_its_anchor_but_not_without_bound() {
    let text = source_text(
        "",
        "      - {table: a_hourly, by: &by [shop], limit: 5, columns: {}}\n      - {table: b_hourly, by: *by, limit: 5, columns: {}}",
    );
    let rules = parse_rules(&[document("orders.yaml", &text)]).unwrap();
    assert_eq!(rules.sources[0].rollups[1].by, rules.sources[0].rollups[0].by);
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
    }
    let wrong = parse_rules(&[document("bomb.yaml", &bomb)]).unwrap_err();
    assert!(wrong.to_string().contains("more than 100000 values"), "{wrong}");
    let deep = parse_rules(&[document("deep.yaml", &"[".repeat(40))]).unwrap_err();
    assert!(deep.to_string().contains("nested deeper than 32 levels"), "{deep}");
}

#[test]
fn an_empty_folder_is_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let said = load_folder(folder.path().to_str().unwrap()).unwrap_err().to_string();
    assert!(said.contains("no sources or rules stand in this folder"), "{said}");
    std::fs::create_dir(folder.path().join("sources")).unwrap();
    std::fs::write(folder.path().join("sources/a.yaml"), [0xff, 0xfe]).unwrap();
    let said = load_folder(folder.path().to_str().unwrap()).unwrap_err().to_string();
    assert!(said.contains("a.yaml: cannot be read"), "{said}");
}

#[test]
fn folders_inside_are_read_and_hidden_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, name: &str| {
        let path = folder.path().join("slos").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let service = |name: &str| {
            format!("{{apiVersion: openslo/v1, kind: Service, metadata: {{name: {name}}}, spec: {{}}}}")
        };
        std::fs::write(path, service(name)).unwrap();
    };
    write("a.yaml", "a");
    write("team/b.yml", "b");
    write("team/of/c.yaml", "c");
    write("team/notes.txt", "a");
    write("..2026_01_01/a.yaml", "a");
    let loaded = load_folder(folder.path().to_str().unwrap()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let names: Vec<_> = loaded.rules.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is cut out of the shipped files or put into them: rules or diagnostics, never a panic.
    #[test]
    fn no_text_panics(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        cut in 0usize..40,
        put in prop_oneof![Just(String::new()), "[-{}\\[\\]:,\"'&*!|>#%@ \nü0a.]{1,6}"],
    ) {
        let mut documents = embedded_files().rules;
        let file = file.index(documents.len());
        let text: Vec<char> = documents[file].text.chars().collect();
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        documents[file].text = text[..at].iter().collect::<String>() + &put + &text[end..].iter().collect::<String>();
        if let Err(wrong) = parse_rules(&documents) {
            prop_assert!(!wrong.list.is_empty());
            prop_assert!(wrong.list.iter().all(|d| !d.message.is_empty() && !d.help.is_empty()));
        }
    }
}
