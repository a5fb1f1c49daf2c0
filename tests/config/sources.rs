//! `DataSource` documents.

use plimsoll::config::parse_rules;
use plimsoll::core::source::{Aggregate, Bounds, FieldKind, Quantile, Source, TimestampForm};

use super::{document, source_text};

fn parse_source(fields: &str, rollups: &str) -> Result<Source, String> {
    let rules = parse_rules(&[document("orders.yaml", &source_text(fields, rollups))]);
    rules.map(|mut rules| rules.sources.remove(0)).map_err(|wrong| wrong.to_string())
}

#[test]
fn bounds_are_exact_and_inclusive() {
    let kind = |text: &str| {
        let source =
            parse_source(&format!("      f: {text}"), "      []").unwrap_or_else(|wrong| panic!("{wrong}"));
        source.fields[source.slot("f").unwrap()].kind.clone()
    };
    let decimal = |scale, min, max| FieldKind::Decimal { scale, bounds: Bounds { min, max } };
    assert_eq!(kind("{type: decimal, scale: 2, min: 0.1, max: 0.3}"), decimal(2, 10, 30));
    assert_eq!(kind("{type: decimal, scale: 1, min: 0.15, max: 0.35}"), decimal(1, 2, 3));
    let exclusive = "min_exclusive: true, max_exclusive: true";
    assert_eq!(kind(&format!("{{type: decimal, scale: 1, min: 0, max: 1, {exclusive}}}")), decimal(1, 1, 9));
    assert_eq!(
        kind(&format!("{{type: decimal, scale: 1, min: 0.15, max: 0.95, {exclusive}}}")),
        decimal(1, 2, 9)
    );
    assert_eq!(kind("{type: integer, min: -1.5}"), FieldKind::Integer(Bounds { min: -1, max: i64::MAX }));
    assert_eq!(kind("{type: timestamp, unit: ms}"), FieldKind::Timestamp(TimestampForm::EpochMillis));
}

#[test]
fn paths_nest_at_the_dots() {
    let source =
        parse_source("      http.status: {type: integer}\n      m: {type: string, path: a.b.c}", "      []")
            .unwrap();
    let path = |name: &str| source.fields[source.slot(name).unwrap()].path.join("|");
    assert_eq!(
        (path("http.status"), path("m"), path("shop")),
        ("http|status".into(), "a|b|c".into(), "shop".into())
    );
}

#[test]
fn quantiles_and_empty_columns() {
    let rollups = "      - {table: a_hourly, by: [shop], limit: 5, columns: {}}
      - table: b_hourly
        by: []
        columns: {p: {histogram: price, quantiles: [0.5, 0.999, 0.000001]}}";
    let source = parse_source("", rollups).unwrap();
    assert!(source.rollups[0].columns.is_empty());
    let Aggregate::Histogram { quantiles, .. } = &source.rollups[1].columns[0].aggregate else { panic!() };
    assert_eq!(*quantiles, [500_000, 999_000, 1].map(|millionths| Quantile { millionths }));
}

#[test]
fn sources_are_checked() {
    let columns =
        |columns: &str| format!("      - {{table: a_hourly, by: [shop], limit: 5, columns: {{{columns}}}}}");
    let rollup = |text: &str| format!("      - {{{text}}}");
    let table = [
        ("", columns("n: {sum: shop}"), "`shop` is a string"),
        ("", columns("n: {sum: pricee}"), "`pricee` is not a field of this source"),
        ("", columns("n: {distinct: ts}"), "`ts` is a timestamp"),
        ("", columns("n: {sum: price, min: price}"), "the column has several aggregates: sum, min"),
        ("", columns("n: {total: price}"), "`total` is not an aggregate"),
        ("", columns("n: {histogram: price}"), "`quantiles` is missing"),
        ("", columns("n: {histogram: price, quantiles: [1]}"), "this is not a quantile"),
        ("", columns("n: {histogram: price, quantiles: [0.1234567]}"), "this is not a quantile"),
        (
            "",
            columns("n: {histogram: price, quantiles: [0.5, 0.50]}"),
            "which is also among the columns of `n`",
        ),
        ("", columns("n: {count_by: shop}"), "`limit` is missing"),
        ("", columns("n: {peak: {every: 7s}}"), "slots of this length do not fill an hour"),
        ("", columns("n: {peak: {every: 1500ms}}"), "slots of this length do not fill an hour"),
        ("", columns("n: {sum_product: [price]}"), "two fields are wanted"),
        ("", columns("version: {sum: price}"), "a column `version`, which is also among the common columns"),
        ("", columns("shop: {sum: price}"), "a column `shop`, which is also among the key"),
        (
            "",
            columns("n_max: {sum: price}, n: {histogram: price, quantiles: [0.5]}"),
            "a column `n_max`, which is also",
        ),
        ("", columns("N: {sum: price}"), "`N` cannot be a name in Postgres"),
        ("", columns("n: {count: \"prices > 1\"}"), "`prices` is not a field of this source"),
        ("", rollup("table: a, by: [], columns: {}"), "`a` does not end in `_hourly`"),
        ("", rollup("table: slo_hourly, by: [], columns: {}"), "is a name of Plimsoll's own"),
        ("", rollup("table: slo_daily_hourly, by: [], columns: {}"), "is a name of Plimsoll's own"),
        ("", rollup("table: rule_hourly, by: [], columns: {}"), "is a name of Plimsoll's own"),
        ("", rollup("table: incident_hourly, by: [], columns: {}"), "is a name of Plimsoll's own"),
        ("", rollup("table: a_hourly, by: [shop], columns: {}"), "`limit` is missing"),
        (
            "",
            rollup("table: a_hourly, by: [], limit: 1, columns: {}"),
            "`limit` without key columns has no meaning",
        ),
        ("", rollup("table: a_hourly, by: [shop, shop], limit: 1, columns: {}"), "`shop` is named twice"),
        ("", rollup("table: a_hourly, by: [price], limit: 1, columns: {}"), "`price` is a decimal"),
        (
            "      version: {type: string}",
            rollup("table: a_hourly, by: [version], limit: 1, columns: {}"),
            "the key column `version`",
        ),
        (
            "",
            "      - {table: a_hourly, by: [], columns: {}}\n      - {table: a_hourly, by: [], columns: {}}"
                .into(),
            "a second table called `a_hourly`",
        ),
        ("      f: {type: float}", "      []".into(), "`float` is not a type"),
        ("      f: {type: string, scale: 2}", "      []".into(), "`scale` is not a key here"),
        ("      f: {type: decimal}", "      []".into(), "`scale` is missing"),
        ("      f: {type: decimal, scale: 19}", "      []".into(), "`19` is not a whole number from 0 to 18"),
        (
            "      f: {type: integer, min: 5, max: 4}",
            "      []".into(),
            "no value fits between `min` and `max`",
        ),
        ("      f: {type: integer, min_exclusive: true}", "      []".into(), "`min_exclusive` without `min`"),
        ("      f: {type: integer, min: 1e25}", "      []".into(), "beyond 64 bits"),
        ("      f: {type: string, path: shop}", "      []".into(), "`shop` and `f` read the same place"),
        (
            "      f: {type: string, path: shop.name}",
            "      []".into(),
            "`f` stands inside `shop` or around it",
        ),
        ("      f-g: {type: string}", "      []".into(), "`f-g` cannot be the name of a field"),
        (
            "      f: {type: integer, max: -1}",
            columns("n: {histogram: f, quantiles: [0.5]}"),
            "no value of `f` fits a histogram",
        ),
    ];
    for (fields, rollups, expected) in table {
        let said = parse_source(fields, &rollups).expect_err(expected);
        assert!(said.contains(expected), "wanted: {expected}\nsaid: {said}");
        assert_eq!(said.matches("  help: ").count(), 1, "one mistake, one message: {said}");
    }
    let text = source_text("", "      []");
    let event_times = [
        ("{field: shop}", "`shop` is not a timestamp"),
        ("{field: tss}", "`tss` is not a field of this source"),
        ("{field: ts, lateness: 2d}", "`2d` is out of range"),
    ];
    for (event_time, expected) in event_times {
        let text = text.replace("{field: ts}", event_time);
        let said = parse_rules(&[document("orders.yaml", &text)]).expect_err(expected).to_string();
        assert!(said.contains(expected), "{said}");
    }
    let optional = text.replace("ts: {type: timestamp}", "ts: {type: timestamp, optional: true}");
    let said = parse_rules(&[document("orders.yaml", &optional)]).unwrap_err().to_string();
    assert!(said.contains("`ts` is optional"), "{said}");
}
