//! `--incident KIND:FROM..TO:...`, with times since the start.

use plimsoll::config::written_duration_us;
use plimsoll::generate::{Incident, Topic, models, services};

use super::options::share;

const HELP: &str = "write `error-spike:10m..14m:20%`, `error-spike:10m..14m:20%:web`, \
    `slow-model:10m..20m:random-forest-oil:5` or `silent-feed:30m..35m:ml-predictions`; times count from the start";

/// The incident that `text` describes; the error says how to write it.
pub fn parse(text: &str) -> Result<Incident, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let incident = match *parts.as_slice() {
        ["error-spike", span, share_text] => error_spike(span, share_text, None),
        ["error-spike", span, share_text, service] => error_spike(span, share_text, Some(service)),
        ["slow-model", span, model, factor] => slow_model(span, model, factor),
        ["silent-feed", span, topic] => silent_feed(span, topic),
        [kind @ ("error-spike" | "slow-model" | "silent-feed"), ..] => {
            Err(format!("that is not all of `{kind}`, or too much; {HELP}"))
        }
        _ => Err(format!("there is no such incident; {HELP}")),
    };
    incident.map_err(|problem| format!("--incident {text}: {problem}"))
}

/// When the incident begins and ends, in microseconds.
pub fn times(incident: &Incident) -> (i64, i64) {
    match incident {
        Incident::ErrorSpike { from_us, to_us, .. }
        | Incident::SlowModel { from_us, to_us, .. }
        | Incident::SilentFeed { from_us, to_us, .. } => (*from_us, *to_us),
    }
}

/// The incident, later by `by_us`.
pub fn later(mut incident: Incident, by_us: i64) -> Incident {
    match &mut incident {
        Incident::ErrorSpike { from_us, to_us, .. }
        | Incident::SlowModel { from_us, to_us, .. }
        | Incident::SilentFeed { from_us, to_us, .. } => {
            *from_us = from_us.saturating_add(by_us);
            *to_us = to_us.saturating_add(by_us);
        }
    }
    incident
}

fn error_spike(span: &str, share_text: &str, service: Option<&str>) -> Result<Incident, String> {
    let (from_us, to_us) = span_us(span)?;
    let service = service.map(|service| one_of("service", service, &services())).transpose()?;
    Ok(Incident::ErrorSpike { from_us, to_us, share: share(share_text)?, service })
}

fn slow_model(span: &str, model: &str, factor_text: &str) -> Result<Incident, String> {
    let (from_us, to_us) = span_us(span)?;
    let model = one_of("model", model, &models())?;
    match factor_text.parse() {
        Ok(factor) if factor > 0.0 && factor <= 1000.0 => {
            Ok(Incident::SlowModel { from_us, to_us, model, factor })
        }
        _ => Err(format!("`{factor_text}` is no factor; write how many times as long, above 0 to 1000")),
    }
}

fn silent_feed(span: &str, topic: &str) -> Result<Incident, String> {
    let (from_us, to_us) = span_us(span)?;
    let names = Topic::ALL.map(Topic::name);
    let topic = Topic::from_name(topic)
        .ok_or_else(|| format!("there is no topic `{topic}`; take one of {}", names.join(", ")))?;
    Ok(Incident::SilentFeed { from_us, to_us, topic })
}

fn one_of(what: &str, name: &str, known: &[&str]) -> Result<String, String> {
    match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("there is no {what} `{name}`; take one of {}", known.join(", "))),
    }
}

fn span_us(text: &str) -> Result<(i64, i64), String> {
    let (from, to) =
        text.split_once("..").ok_or_else(|| format!("`{text}` is no span; write it like `10m..14m`"))?;
    let (from_us, to_us) = (written_duration_us(from)?, written_duration_us(to)?);
    if from_us >= to_us {
        return Err(format!("it ends at {to}, not after its start at {from}"));
    }
    Ok((from_us, to_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_say_all_they_need() {
        assert_eq!(
            parse("error-spike:10m..14m:20%:web"),
            Ok(Incident::ErrorSpike {
                from_us: 600_000_000,
                to_us: 840_000_000,
                share: 0.2,
                service: Some("web".into())
            })
        );
        assert_eq!(
            parse("slow-model:0s..1h:electricity-spike:2.5"),
            Ok(Incident::SlowModel {
                from_us: 0,
                to_us: 3_600_000_000,
                model: "electricity-spike".into(),
                factor: 2.5
            })
        );
        let silent = Incident::SilentFeed { from_us: 1_000_000, to_us: 2_000_000, topic: Topic::Prices };
        assert_eq!(parse("silent-feed:1s..2s:commodity-prices"), Ok(silent.clone()));
        assert_eq!(times(&later(silent, 5)), (1_000_005, 2_000_005));
    }

    #[test]
    fn what_is_wrong_is_named_with_a_way_to_mend_it() {
        for (text, said) in [
            ("fire:1m..2m", "no such incident; write `error-spike:"),
            ("error-spike:1m..2m", "not all of `error-spike`"),
            ("error-spike:2m..1m:5%", "ends at 1m, not after its start at 2m"),
            ("error-spike:1m-2m:5%", "write it like `10m..14m`"),
            ("error-spike:1..2m:5%", "the duration `1` has no unit"),
            ("error-spike:1m..2m:120%", "0% to 100%"),
            ("error-spike:1m..2m:5%:wbe", "no service `wbe`; take one of alerts-api"),
            ("slow-model:1m..2m:gpt:5", "no model `gpt`; take one of random-forest-oil"),
            ("slow-model:1m..2m:electricity-spike:0", "no factor"),
            ("silent-feed:1m..2m:requests", "no topic `requests`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said) && error.contains(text), "{error}");
        }
    }
}
