//! `DataSource` documents -> sources.

use super::diagnostic::{Diagnostics, Place, Problem, suggestion};
use super::field::field;
use super::manifest::Manifest;
use super::name::topic_name;
use super::quantity::duration_us;
use super::reader::{Mapping, boolean, owned_text, text};
use super::rollup::rollups;
use super::yaml::Node;
use crate::core::source::{EventTime, Field, FieldKind, Format, Source};
use crate::core::time::{HOUR_US, SECOND_US};

/// Fields a source may declare: every event holds a cell for each.
const MAX_FIELDS: usize = 256;
/// Partials are kept for a day, and an hour's state as long as late events may come.
const MAX_LATENESS_US: i64 = 24 * HOUR_US;

/// A source with the places that checks across documents name.
pub struct Declared<'n> {
    pub source: Source,
    pub topic_place: &'n Place,
    /// Parallel to `source.rollups`.
    pub table_places: Vec<&'n Place>,
}

/// What is wrong is noted. None when not even the fields' types are known; else what can be read, so that whatever
/// uses the source can be checked too.
pub fn source<'n>(manifest: &Manifest<'n>, diagnostics: &mut Diagnostics) -> Option<Declared<'n>> {
    let spec = Mapping::open(manifest.spec, &["description", "type", "connectionDetails"], diagnostics)?;
    spec.optional("description", diagnostics, text);
    spec.required("type", diagnostics, |node| match text(node)? {
        "KafkaStream" => Ok(()),
        other => Err(Problem::new(format!("`{other}` is not supported"), "write `type: KafkaStream`")),
    });
    let known = ["topic", "optional", "format", "event_time", "fields", "rollups"];
    let details = Mapping::open(spec.required_node("connectionDetails", diagnostics)?, &known, diagnostics)?;
    let topic = details.required("topic", diagnostics, topic_name);
    let optional = details.optional("optional", diagnostics, boolean).unwrap_or(false);
    let format = details.required("format", diagnostics, |node| match text(node)? {
        "json" => Ok(Format::Json),
        other => Err(Problem::new(format!("`{other}` is not supported yet"), "write `format: json`")),
    });
    let event_time_node = details.required_node("event_time", diagnostics);
    let fields = fields(details.required_node("fields", diagnostics)?, diagnostics);
    // Without all fields every use of one would look wrong.
    let mut fields = fields?;
    let event_time = event_time_node.map(|node| event_time(node, &fields, diagnostics));
    let tables = details.node("rollups").map(|node| rollups(node, &mut fields, diagnostics));
    let (rollups, table_places) = tables.into_iter().flatten().unzip();
    let name = manifest.name.clone();
    let topic_place = details.node("topic").map_or(details.place, |node| &node.place);
    let topic = topic.unwrap_or_default();
    let format = format.unwrap_or(Format::Json);
    let event_time = event_time.unwrap_or(DEFAULT_EVENT_TIME);
    let source = Source { name, topic, optional, format, event_time, fields, rollups };
    Some(Declared { source, topic_place, table_places })
}

fn fields(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Field>> {
    let entries = Mapping::of_any_keys(node, diagnostics)?.entries;
    if entries.len() > MAX_FIELDS {
        let message = format!("more than {MAX_FIELDS} fields");
        diagnostics.push(&node.place, Problem::new(message, "declare only those that rollups and rules use"));
        return None;
    }
    let read: Vec<Option<Field>> = entries.iter().map(|entry| field(entry, diagnostics)).collect();
    for (index, later) in read.iter().enumerate() {
        let Some(later) = later else { continue };
        for earlier in read[..index].iter().flatten() {
            if let Err(problem) = check_paths(earlier, later) {
                diagnostics.push(&entries[index].place, problem);
            }
        }
    }
    read.into_iter().collect()
}

/// A place in the record holds one value, or an object with values inside.
fn check_paths(earlier: &Field, later: &Field) -> Result<(), Problem> {
    let (a, b) = (&earlier.path, &later.path);
    if a.is_empty() || b.is_empty() {
        // Not readable, and noted already.
        return Ok(());
    }
    if a == b {
        let message =
            format!("`{}` and `{}` read the same place, `{}`", earlier.name, later.name, a.join("."));
        return Err(Problem::new(message, "declare the place once"));
    }
    if a.starts_with(b) || b.starts_with(a) {
        let message = format!("`{}` stands inside `{}` or around it", later.name, earlier.name);
        return Err(Problem::new(message, "a place in the record is a value or an object, not both"));
    }
    Ok(())
}

const DEFAULT_EVENT_TIME: EventTime = EventTime {
    slot: 0,
    out_of_order_us: 2 * SECOND_US,
    lateness_us: 2 * HOUR_US,
    idle_after_us: 5 * SECOND_US,
    max_ahead_us: 60 * SECOND_US,
};

fn event_time(node: &Node, fields: &[Field], diagnostics: &mut Diagnostics) -> EventTime {
    let mut time = DEFAULT_EVENT_TIME;
    let known = ["field", "out_of_order", "lateness", "idle_after", "max_ahead"];
    let Some(keys) = Mapping::open(node, &known, diagnostics) else { return time };
    let slot = keys.required("field", diagnostics, |node| {
        let name = owned_text(node)?;
        let slot = fields.iter().position(|f| f.name == name).ok_or_else(|| {
            let help = suggestion(&name, fields.iter().map(|f| f.name.as_str()));
            Problem::new(format!("`{name}` is not a field of this source"), help)
        })?;
        match (&fields[slot].kind, fields[slot].optional) {
            (FieldKind::Timestamp(_), false) => Ok(slot),
            (FieldKind::Timestamp(_), true) => {
                let help = "take `optional: true` from the field: an event without a time belongs to no hour";
                Err(Problem::new(format!("`{name}` is optional"), help))
            }
            _ => {
                Err(Problem::new(format!("`{name}` is not a timestamp"), "declare it with `type: timestamp`"))
            }
        }
    });
    keys.set("out_of_order", &mut time.out_of_order_us, diagnostics, duration_us(0..=HOUR_US));
    keys.set("lateness", &mut time.lateness_us, diagnostics, duration_us(0..=MAX_LATENESS_US));
    keys.set("idle_after", &mut time.idle_after_us, diagnostics, duration_us(SECOND_US..=HOUR_US));
    keys.set("max_ahead", &mut time.max_ahead_us, diagnostics, duration_us(SECOND_US..=24 * HOUR_US));
    time.slot = slot.unwrap_or_default();
    time
}
