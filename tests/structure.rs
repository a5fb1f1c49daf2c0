//! Rules about the source itself. Each failure names the place, the rule and the way to mend it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 500;

/// Every folder and file directly in `src`, and what it is there for.
const ROOMS: [(&str, &str); 16] = [
    ("cli", "arguments, one file per command"),
    ("config", "documents -> validated model"),
    ("core", "the pure middle: fold, shard, judging of rules"),
    ("decode", "bytes -> event"),
    ("generate", "made-up records for the demo and for tests"),
    ("http", "metrics, liveness, readiness"),
    ("kafka", "consumers, transactions, topics"),
    ("local", "a broker and a database of one's own"),
    ("report", "daily and weekly review"),
    ("roles", "loops that move data between core and world"),
    ("slo", "rules explained, checked and tested before they run"),
    ("store", "Postgres: migrations, upserts, queries"),
    ("verify", "hours recomputed by another way, and compared"),
    ("wire", "partials, changelog, outputs <-> bytes"),
    ("lib.rs", "names the rooms"),
    ("main.rs", "starts the command"),
];

/// Rooms that may use only some others, so that they can be read and tested alone.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("core", &["core"]),
    ("decode", &["core", "decode"]),
    ("http", &["core", "http"]),
    ("slo", &["config", "core", "decode", "slo"]),
    ("verify", &["config", "core", "kafka", "store", "verify"]),
    ("wire", &["core", "wire"]),
];

/// Of `core`, what `verify` may know: declarations and units, nothing that computes what it is there to check.
const VERIFY_KNOWS_OF_CORE: [&str; 3] = ["expr", "source", "time"];

/// Crates that compute and do nothing else. `core` may use these of `[dependencies]`.
const PURE_CRATES: [&str; 11] = [
    "base64",
    "fastmurmur3",
    "foldhash",
    "itoa",
    "jiff",
    "postcard",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "xxhash_rust",
];

/// What `core` must not name, and where that belongs instead.
const NOT_IN_CORE: [(&[&str], &str); 12] = [
    (&["std", "fs"], "take the bytes as an argument; reading files is for src/config or src/roles"),
    (&["std", "net"], "sockets are for src/kafka, src/store and src/http"),
    (&["std", "env"], "take the setting as an argument; the environment is read in src/cli"),
    (&["std", "process"], "return an error; src/main.rs alone ends the process"),
    (&["std", "thread"], "core is called by threads and starts none; src/roles does"),
    (&["std", "time", "SystemTime"], "time arrives in the records: take it as an argument, in microseconds"),
    (&["std", "time", "Instant"], "time arrives in the records: take it as an argument, in microseconds"),
    (&["jiff", "Timestamp", "now"], "time arrives in the records: take it as an argument, in microseconds"),
    (&["jiff", "Zoned"], "time arrives in the records, and all of it is UTC"),
    (
        &["std", "hash", "RandomState"],
        "a random seed makes two replicas differ; hash with xxhash and a fixed seed",
    ),
    (&["std", "io"], "return bytes or take a slice; src/wire and the shell do I/O"),
    (&["std", "sync", "Mutex"], "a shard belongs to one thread; share between threads in src/roles"),
];

/// Core files that may use a hash map or set, because nothing that leaves them depends on its order.
const HASHING_IN_CORE: [(&str, &str); 3] = [
    ("src/core/fold/series.rs", "groups are found and never iterated over"),
    ("src/core/fold/panes.rs", "places are found and never iterated over"),
    ("src/core/fold/distinct.rs", "hashes are sorted before they leave"),
];

/// Names that say nothing; a file is called by the noun it is about.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "manager", "common", "misc", "shared"];

struct SourceFile {
    /// From the root of the repository, with slashes.
    path: String,
    text: String,
    words: Vec<Word>,
}

/// A path as the code names it, groups of `use` spelled out; comments and literals are none.
struct Word {
    path: Vec<String>,
    line: usize,
    is_macro: bool,
}

impl Word {
    fn starts_with(&self, segments: &[&str]) -> bool {
        self.path.len() >= segments.len() && self.path.iter().zip(segments).all(|(a, b)| a == b)
    }

    fn names(&self, name: &str) -> bool {
        self.path.iter().any(|segment| segment == name)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder`, sorted; none when the folder is not there.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<SourceFile> {
    let rust = files(folder).into_iter().filter(|path| path.ends_with(".rs"));
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let words = words(&text);
        SourceFile { path, text, words }
    };
    rust.map(read).collect()
}

/// `text` with comments and the insides of literals blanked; lines stay where they are.
fn blanked(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kept, dropped) = match first {
            '/' if rest.starts_with("//") => (0, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (0, block_comment(rest)),
            '"' => (0, 1 + closing_quote(&rest[1..], '"')),
            '\'' if rest.starts_with("'\\") => (0, 1 + closing_quote(&rest[1..], '\'')),
            '\'' if rest.chars().nth(2) == Some('\'') => {
                (0, rest.char_indices().nth(3).map_or(rest.len(), |c| c.0))
            }
            'r' if !code.ends_with(is_name) => (1, raw_string(&rest[1..])),
            'b' | 'c' if !code.ends_with(is_name) && rest[1..].starts_with('r') => {
                (2, raw_string(&rest[2..]))
            }
            _ => (first.len_utf8(), 0),
        };
        let (head, tail) = rest.split_at(kept + dropped);
        code.push_str(&head[..kept]);
        code.extend(head[kept..].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = tail;
    }
    code
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length up to and with the `quote` that no backslash stands before.
fn closing_quote(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = text.find(|c| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |at| at + 1)
}

/// Length of a block comment with those inside it.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[..at].ends_with("*/") && at > 3 {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    text.len()
}

/// Length of a raw string behind its `r`; 0 when there is none.
fn raw_string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    if !text[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", &text[..hashes]);
    text[hashes + 1..].find(&end).map_or(text.len(), |at| hashes + 1 + at + end.len())
}

/// Every path in `text`, in order.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    // What the paths inside each open brace begin with.
    let mut groups: Vec<Vec<String>> = vec![Vec::new()];
    let mut path: Vec<String> = Vec::new();
    for (at, line) in blanked(text).lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len()).max(first.len_utf8());
            let (token, tail) = rest.split_at(length);
            rest = tail.trim_start();
            match token {
                "{" => groups.push(std::mem::take(&mut path)),
                "}" => {
                    groups.pop();
                }
                "#" if rest.starts_with("[ignore]") || rest.starts_with("[ignore ") => {
                    words.push(Word { path: vec!["#[ignore]".into()], line: at + 1, is_macro: false });
                }
                _ if !first.is_alphabetic() && first != '_' => path.clear(),
                name => {
                    if path.is_empty() {
                        path = groups.last().cloned().unwrap_or_default();
                    }
                    path.push(name.to_owned());
                    if let Some(tail) = rest.strip_prefix("::") {
                        rest = tail.trim_start();
                        let goes_on = rest.is_empty() || rest.starts_with(|c| is_name(c) || c == '{');
                        if goes_on {
                            continue;
                        }
                    }
                    let is_macro = rest.starts_with('!') && !rest.starts_with("!=");
                    words.push(Word { path: std::mem::take(&mut path), line: at + 1, is_macro });
                }
            }
        }
    }
    words
}

#[track_caller]
fn assert_none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}\n  {}\n", violations.join("\n  "));
}

/// One line for each word of `files` that `judge` has something to say about.
fn violations(files: &[SourceFile], judge: impl Fn(&SourceFile, &Word) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for word in &file.words {
            if let Some(advice) = judge(file, word) {
                found.push(format!("{}:{}: `{}`: {advice}", file.path, word.line, word.path.join("::")));
            }
        }
    }
    found
}

/// Names under `[dependencies]`, as code writes them.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, section) = manifest.split_once("\n[dependencies]\n").unwrap();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once(" =")?.0.replace('-', "_"))).collect()
}

#[test]
fn core_is_pure() {
    let rule =
        "src/core gives the same outputs for the same inputs, to the byte, so it may touch nothing else:";
    let dependencies = dependencies();
    assert!(dependencies.contains("rdkafka") && dependencies.contains("tracing"), "{dependencies:?}");
    let found = violations(&sources("src/core"), |_, word| {
        if word.is_macro && ["println", "print", "eprintln", "eprint"].contains(&word.path[0].as_str()) {
            return Some("core says things by returning them; printing is for src/cli".to_owned());
        }
        if let Some((_, advice)) = NOT_IN_CORE.iter().find(|(banned, _)| word.starts_with(banned)) {
            return Some((*advice).to_owned());
        }
        let is_impure = |name: &str| dependencies.contains(name) && !PURE_CRATES.contains(&name);
        (word.path.len() > 1 && is_impure(&word.path[0])).then(|| {
            "this crate does more than compute. Move its use to the shell; if it is pure, add it to PURE_CRATES here"
                .to_owned()
        })
    });
    assert_none(rule, found);
}

#[test]
fn core_iterates_in_one_order() {
    let rule =
        "a hash map's order differs from run to run, and with it whatever is made by iterating over it:";
    let found = violations(&sources("src/core"), |file, word| {
        let allowed = HASHING_IN_CORE.iter().any(|(path, _)| *path == file.path);
        ((word.names("HashMap") || word.names("HashSet")) && !allowed).then(|| {
            "use BTreeMap or a sorted Vec; where hashing is needed for speed and its order never shows, add the file \
             to HASHING_IN_CORE here with the reason"
                .to_owned()
        })
    });
    assert_none(rule, found);
}

#[test]
fn rooms_use_only_what_they_may() {
    let rule = "dependencies between rooms go one way, so that each can be read and tested alone:";
    let mut found = Vec::new();
    for (room, may_use) in MAY_USE {
        found.extend(violations(&sources(&format!("src/{room}")), |_, word| {
            let used = word.path.get(1).filter(|_| word.path[0] == "crate")?;
            let is_room = ROOMS.iter().any(|(name, _)| name == used);
            (is_room && !may_use.contains(&used.as_str())).then(|| {
                format!(
                    "src/{room} may use {may_use:?} only; pass in what it needs, or move the type to src/core"
                )
            })
        }));
    }
    assert_none(rule, found);
}

#[test]
fn what_verifies_shares_no_code_with_what_it_verifies() {
    let rule = "src/verify is worth something only while it finds out everything by itself:";
    let files = sources("src/verify");
    let named = |part| {
        files.iter().flat_map(|file| &file.words).any(|word| word.starts_with(&["crate", "core", part]))
    };
    assert!(named("expr") && named("source"), "the room is read");
    let found = violations(&files, |_, word| {
        let part = word.path.get(2).filter(|_| word.starts_with(&["crate", "core"]))?;
        let advice = format!("of src/core it may use {VERIFY_KNOWS_OF_CORE:?} only: write it anew, plainly");
        (!VERIFY_KNOWS_OF_CORE.contains(&part.as_str())).then_some(advice)
    });
    assert_none(rule, found);
}

#[test]
fn unsafe_stays_in_one_room() {
    let rule = "unsafe code is proven by hand, so it all stands where the C library is, in src/kafka:";
    let outside: Vec<_> = sources("src").into_iter().filter(|f| !f.path.starts_with("src/kafka/")).collect();
    let found = violations(&outside, |_, word| {
        let advice =
            "find a safe way (a crate's safe API, /proc, std), or put the call behind one in src/kafka";
        word.names("unsafe").then(|| advice.to_owned())
    });
    assert_none(rule, found);
}

#[test]
fn nothing_is_left_open() {
    let rule = "what is not done is not there; what must be done later stands in the documentation:";
    let mark = concat!("FIX", "ME");
    let all: Vec<SourceFile> = ["src", "tests", "benches"].into_iter().flat_map(sources).collect();
    let mut found = violations(&all, |_, word| {
        match word.path[0].as_str() {
        "todo" | "unimplemented" if word.is_macro => {
            Some("write it, or return an error that says so".to_owned())
        }
        "#[ignore]" => Some(
            "a test that does not run proves nothing: mend it or delete it. One that is only another test's child \
             process returns at once unless that test set a variable of its own in its environment"
                .to_owned(),
        ),
        _ => None,
    }
    });
    for file in &all {
        let marked = file.text.lines().enumerate().filter(|(_, line)| line.contains(mark));
        found.extend(marked.map(|(at, _)| format!("{}:{}: {mark}: mend it now", file.path, at + 1)));
    }
    assert_none(rule, found);
}

#[test]
fn files_fit_a_reader() {
    let rule =
        format!("one noun per file, at most {MOST_LINES} lines; split along the nouns, not in the middle:");
    let all = ["src", "tests", "benches"].into_iter().flat_map(sources);
    let long = all.filter(|file| file.text.lines().count() > MOST_LINES);
    let found = long.map(|file| format!("{}: {} lines", file.path, file.text.lines().count())).collect();
    assert_none(&rule, found);
}

#[test]
fn names_say_what_is_inside() {
    let rule = "a file is named by the noun it is about, and these name none:";
    let is_empty = |path: &String| {
        let parts = Path::new(path).iter().filter_map(|part| part.to_str());
        parts.map(|part| part.trim_end_matches(".rs")).any(|part| EMPTY_NAMES.contains(&part))
    };
    assert_none(rule, files("src").into_iter().filter(is_empty).collect());
}

#[test]
fn every_room_is_known() {
    let rule = "a new room in src needs a line in ROOMS here, and its place in the way of the data:";
    let in_src: BTreeSet<String> =
        files("src").iter().filter_map(|path| Some(path.split('/').nth(1)?.to_owned())).collect();
    assert!(in_src.contains("core") && in_src.contains("lib.rs"), "{in_src:?}");
    let unknown = in_src.iter().filter(|room| !ROOMS.iter().any(|(name, _)| name == room));
    assert_none(rule, unknown.map(|room| format!("src/{room}")).collect());
    if let Ok(map) = fs::read_to_string(root().join("ARCHITECTURE.md")) {
        let rule = "ARCHITECTURE.md is the map of the rooms, and these are not on it:";
        let missing =
            in_src.iter().filter(|room| !room.ends_with(".rs") && !map.contains(&format!("`{room}`")));
        assert_none(rule, missing.map(|room| format!("`{room}`")).collect());
    }
}

#[test]
fn every_shipped_file_is_tested() {
    let rule = "a file we ship and no test names can break unseen; name it in a test that reads it:";
    let tests: Vec<SourceFile> = ["src", "tests"].into_iter().flat_map(sources).collect();
    let is_named = |path: &String| {
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        tests.iter().any(|file| file.path != "tests/structure.rs" && names_in_test(file, name))
    };
    let shipped = ["config", "schemas"].into_iter().flat_map(files);
    assert_none(rule, shipped.filter(|path| !is_named(path)).collect());
}

/// In a file of tests anywhere; in the source only below the first `#[cfg(test)]`.
fn names_in_test(file: &SourceFile, name: &str) -> bool {
    let tests = match file.path.starts_with("tests/") {
        true => file.text.as_str(),
        false => file.text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests),
    };
    tests.contains(name)
}

#[test]
fn the_reader_of_sources_sees_paths() {
    let text = r##"use std::{fs, io::{self, Read}, net::TcpStream as T};
        // std::env
        /* std::process /* nested */ std::process */
        fn f<'a>(c: &'a char) -> ::rand::Rng { let a: std::env::Vars = "std::thread \" std::thread"; a != b; }
        fn g() { let c = ['"', '\'', '\\']; let s = r#"std::thread " std::thread"#; print!("{}", x::<u8>()); }
        #[ignore = "slow"]
        fn h() { std::time::Instant::now() }"##;
    let words = words(text);
    let paths: Vec<String> = words.iter().map(|word| word.path.join("::")).collect();
    let seen = [
        "std::fs",
        "std::io::Read",
        "std::net::TcpStream",
        "rand::Rng",
        "std::env::Vars",
        "#[ignore]",
        "std::time::Instant::now",
    ];
    for path in seen {
        assert!(paths.iter().any(|p| p == path), "{path} in {paths:?}");
    }
    let unseen = |path: &&String| path.starts_with("std::thread") || path.starts_with("std::process");
    assert_eq!(paths.iter().find(unseen), None);
    assert!(!paths.contains(&"std::env".to_owned()), "{paths:?}");
    let macros: Vec<_> = words.iter().filter(|word| word.is_macro).map(|word| word.path.join("::")).collect();
    assert_eq!(macros, ["print"]);
    assert_eq!(words.iter().find(|word| word.names("Vars")).map(|word| word.line), Some(4));
}
