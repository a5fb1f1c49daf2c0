//! The `where` language.

use plimsoll::config::condition;
use plimsoll::core::expr::{Atom, Comparison, Condition};
use plimsoll::core::source::{Bounds, Field, FieldKind, TimestampForm};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn fields() -> Vec<Field> {
    let field = |name: &str, kind| Field {
        name: name.into(),
        path: vec![name.into()],
        kind,
        optional: true,
        unit: String::new(),
    };
    let string = |upper| FieldKind::String { max_length: None, upper, map: BTreeMap::new() };
    vec![
        field("ts", FieldKind::Timestamp(TimestampForm::Rfc3339)),
        field("n", FieldKind::Integer(Bounds::NONE)),
        field("x", FieldKind::Decimal { scale: 3, bounds: Bounds::NONE }),
        field("s", string(false)),
        field("http.method", string(true)),
        field("ok", FieldKind::Boolean),
    ]
}

const N: usize = 1;
const X: usize = 2;
const S: usize = 3;
const METHOD: usize = 4;
const OK: usize = 5;

fn number(slot: usize, op: Comparison, constant: i64) -> Condition {
    Condition::Atom(Atom::Number { slot, op, constant })
}

fn text_in(slot: usize, constants: &[&str]) -> Condition {
    Condition::Atom(Atom::TextIn { slot, constants: constants.iter().map(|c| c.to_string()).collect() })
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

fn has(slot: usize) -> Condition {
    Condition::Atom(Atom::Has(slot))
}

fn never() -> Condition {
    not(Condition::True)
}

#[test]
fn conditions_are_lowered() {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let is_ok = || Condition::Atom(Atom::IsTrue(OK));
    let numbers_in =
        |slot, constants: &[i64]| Condition::Atom(Atom::NumberIn { slot, constants: constants.into() });
    let prefix = |slot, prefix: &str| Condition::Atom(Atom::TextPrefix { slot, prefix: prefix.into() });
    let table = [
        ("true", Condition::True),
        ("false", never()),
        ("n == 5", number(N, Equal, 5)),
        ("n >= -5", number(N, GreaterOrEqual, -5)),
        ("5 < n", number(N, Greater, 5)),
        ("5 >= n", number(N, LessOrEqual, 5)),
        ("n != 5", Condition::And(vec![has(N), not(number(N, Equal, 5))])),
        ("x >= 2000", number(X, GreaterOrEqual, 2_000_000)),
        ("x < 0.001", number(X, Less, 1)),
        ("x == 0.1", number(X, Equal, 100)),
        ("x > -1.5", number(X, Greater, -1_500)),
        ("x > - 1.5", number(X, Greater, -1_500)),
        ("x <= 1e3", number(X, LessOrEqual, 1_000_000)),
        // More digits than the scale holds.
        ("x < 1.2345", number(X, LessOrEqual, 1_234)),
        ("x <= 1.2345", number(X, LessOrEqual, 1_234)),
        ("x > 1.2345", number(X, Greater, 1_234)),
        ("x >= 1.2345", number(X, Greater, 1_234)),
        ("x < -1.2345", number(X, LessOrEqual, -1_235)),
        ("x == 1.2345", never()),
        ("x != 1.2345", Condition::And(vec![has(X), not(never())])),
        ("n > 0.5", number(N, Greater, 0)),
        // Beyond what the field can hold.
        ("x < 1e25", has(X)),
        ("x > 1e25", never()),
        ("x >= -1e25", has(X)),
        ("x == 9223372036854775807", never()),
        ("n in [499, 0, 408, 0]", numbers_in(N, &[0, 408, 499])),
        ("x in [0.5, 1.2345]", numbers_in(X, &[500])),
        ("x in [1.2345]", never()),
        ("s == 'a'", text_in(S, &["a"])),
        ("\"a\" == s", text_in(S, &["a"])),
        ("s != 'a'", Condition::And(vec![has(S), not(text_in(S, &["a"]))])),
        ("s in ['b', 'a', 'b']", text_in(S, &["a", "b"])),
        ("s.startsWith('/api/')", prefix(S, "/api/")),
        ("s == 'ü' && x < 1.5", Condition::And(vec![text_in(S, &["ü"]), number(X, Less, 1_500)])),
        ("http.method == 'GET'", text_in(METHOD, &["GET"])),
        ("has(http.method)", has(METHOD)),
        ("has(ts)", has(0)),
        ("ok", is_ok()),
        ("!ok", not(is_ok())),
        ("ok == true", is_ok()),
        ("ok == false", Condition::And(vec![has(OK), not(is_ok())])),
        ("has(ok) && ok && n > 1", Condition::And(vec![has(OK), is_ok(), number(N, Greater, 1)])),
        (
            "ok || n > 1 && !(x < 2.0 || s == '')",
            Condition::Or(vec![
                is_ok(),
                Condition::And(vec![
                    number(N, Greater, 1),
                    not(Condition::Or(vec![number(X, Less, 2_000), text_in(S, &[""])])),
                ]),
            ]),
        ),
    ];
    for (text, expected) in table {
        match condition(text, &fields()) {
            Ok(lowered) => assert_eq!(lowered, expected, "{text}"),
            Err(problem) => panic!("{text}: {}", problem.message),
        }
    }
}

#[test]
fn what_cannot_be_lowered_shows_the_place() {
    let table = [
        ("nn > 1", "`nn` is not a field of this source\n    nn > 1\n    ^^"),
        (
            "n > 1 && s > 'a'",
            "the string `s` cannot be compared with a text this way\n    n > 1 && s > 'a'\n             ^^^^^^^",
        ),
        ("s == 1", "the string `s` cannot be compared with a number this way\n    s == 1\n    ^^^^^^"),
        ("n == '1'", "the integer `n` cannot be compared with a text this way\n    n == '1'\n    ^^^^^^^^"),
        ("n", "the integer `n` is no condition by itself\n    n\n    ^"),
        ("n > x", "this compares two fields\n    n > x\n    ^^^^^"),
        ("1 < 2", "this compares two constants\n    1 < 2\n    ^^^^^"),
        ("n + 1 > 2", "this is neither a field nor a constant\n    n + 1 > 2\n    ^^^^^"),
        ("s.size() > 2", "this is neither a field nor a constant\n    s.size() > 2\n    ^^^^^^^"),
        ("s.endsWith('a')", "this function is not supported\n    s.endsWith('a')\n    ^^^^^^^^^^^^^^"),
        ("n in []", "the list is empty\n    n in []\n         ^"),
        ("n in s", "`in` wants a list of constants\n    n in s\n         ^"),
        (
            "n in [1, 'a']",
            "the integer `n` cannot be compared with a text this way\n    n in [1, 'a']\n    ^^^^^^^^^^^^",
        ),
        ("ts > 5", "the timestamp `ts` cannot be compared with a number this way\n    ts > 5\n    ^^^^^^"),
        ("n > 1 ? ok : ok", "this function is not supported\n    n > 1 ? ok : ok\n    ^^^^^^^^^^^^^^^"),
        (
            "'ü' == s && nn > 1",
            "`nn` is not a field of this source\n    'ü' == s && nn > 1\n                ^^",
        ),
        ("n > 1 &&\n  nn > 1", "`nn` is not a field of this source\n      nn > 1\n      ^^"),
        (
            "http.method == 'get'",
            "`http.method` is turned to upper case, so this never matches\n    http.method == 'get'\n    ^^^^^^^^^^^^^^^^^^^^",
        ),
    ];
    for (text, expected) in table {
        let said = condition(text, &fields()).map_err(|problem| problem.message);
        assert_eq!(said, Err(expected.to_owned()), "{text}");
    }
    for unreadable in [
        "",
        "n >",
        "n = 5",
        "(n > 1",
        "n > 1)",
        "n > 'a",
        "@",
        "n > 99999999999999999999",
        "namespace == 'a'",
    ] {
        let said = condition(unreadable, &fields()).expect_err(unreadable).message;
        assert!(said.contains('^'), "{unreadable}: {said}");
    }
}

#[test]
fn hostile_conditions_are_refused_and_no_more() {
    let deep = [
        format!("{}n > 1{}", "(".repeat(900), ")".repeat(900)),
        format!("{}ok", "!(".repeat(900)),
        format!("{}1 > n", "1+".repeat(990)),
        format!("s{}", ".s".repeat(990)),
        "n > 1 ? ".repeat(200),
        "[".repeat(1_999),
        "n > 1 && ".repeat(500),
    ];
    for text in deep {
        assert!(condition(&text, &fields()).is_err(), "{text}");
    }
    for text in [format!("{}true", "true && ".repeat(200)), format!("{}1 == n", "-".repeat(1_900))] {
        assert!(condition(&text, &fields()).is_ok(), "{text}");
    }
}

proptest! {
    /// Whatever is written: a condition or a problem that shows the place, never a panic.
    #[test]
    fn no_condition_panics(words in prop::collection::vec(
        prop::sample::select(vec![
            "n", "x", "s", "http.method", "ok", "nn", "has(", "s.startsWith(", "in", "[", "]", "(", ")", "&&", "||",
            "!", "-", "==", "!=", "<", ">=", "1", "0.5", "1e400", "1e-9", "'a'", "\"ü\"", "true", "null", ",", ".",
            "?", ":", "+", "{", "}", "b'a'", "1u", "\n", "`", "\\", "'",
        ]),
        0..12,
    )) {
        let text = words.join(" ");
        if let Err(problem) = condition(&text, &fields()) {
            prop_assert!(problem.message.contains('^'), "{}: {}", text, problem.message);
        }
    }
}
