//! YAML text -> a tree that knows its lines and keeps numbers as they are written.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostic::{Diagnostics, Place, Problem};

/// Deeper nesting than any document needs.
const MAX_DEPTH: usize = 32;
/// Nodes in one file, copies made by aliases included: what bounds the memory a small text can ask for.
const MAX_NODES: usize = 100_000;

#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Null,
    /// `plain`: written without quotes, so it may stand for a number or a boolean.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In written order; no key twice.
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

impl Node {
    /// What the node is, for messages.
    pub fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// The value of `key` when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
            }
            Value::Null | Value::Scalar { .. } | Value::List(_) => None,
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar { .. } => 0,
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|e| e.value.size()).sum(),
        }
    }
}

/// The documents of `text`; empty ones are left out. A syntax error ends the file, what stood before it is kept.
pub fn documents(file: &str, text: &str, diagnostics: &mut Diagnostics) -> Vec<Node> {
    let mut tree = Tree {
        file: file.into(),
        open: Vec::new(),
        anchors: BTreeMap::new(),
        nodes_left: MAX_NODES,
        documents: Vec::new(),
        diagnostics,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => tree.take(event, span),
            Err(error) => {
                let help = "YAML: mind indentation, quotes, and a space behind each `:`";
                Err((tree.place(error.marker().line()), Problem::new(error.info(), help)))
            }
        };
        if let Err((place, problem)) = taken {
            tree.diagnostics.push(&place, problem);
            break;
        }
    }
    tree.documents
}

/// Builds nodes from the parser's events; a stack instead of recursion, so no text can overflow it.
struct Tree<'d> {
    file: Arc<str>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes_left: usize,
    documents: Vec<Node>,
    diagnostics: &'d mut Diagnostics,
}

/// A list or mapping whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Mapping { entries: Vec<Entry>, lines: BTreeMap<String, usize>, key: Key },
}

/// What the next node of a mapping is.
enum Key {
    Awaited,
    Read(String, Place),
    /// The key was no text: its value is read and dropped.
    Unusable,
}

type Taken = Result<(), (Place, Problem)>;

impl Tree<'_> {
    fn place(&self, line: usize) -> Place {
        Place { file: self.file.clone(), line }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Taken {
        let place = self.place(span.start.line());
        if let Some(tag) = tag_of(&event) {
            let help = "leave the tag out; quotes alone make a text of a number";
            return Err((place, Problem::new(format!("the tag `{tag}` has no meaning here"), help)));
        }
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let value = match &*text {
                    "" | "~" | "null" if plain => Value::Null,
                    _ => Value::Scalar { text: text.into_owned(), plain },
                };
                self.spend(1, &place)?;
                self.close(Node { place, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content =
                    Content::Mapping { entries: Vec::new(), lines: BTreeMap::new(), key: Key::Awaited };
                self.open(place, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                None => Ok(()),
                Some(Open { place, anchor, content }) => {
                    let value = match content {
                        Content::List(items) => Value::List(items),
                        Content::Mapping { entries, .. } => Value::Mapping(entries),
                    };
                    self.close(Node { place, value }, anchor)
                }
            },
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Taken {
        match self.anchors.get(&anchor).cloned() {
            Some(node) => {
                self.spend(node.size(), &place)?;
                self.close(node, 0)
            }
            None => {
                let help = "anchor the value with `&name` in the same document, before its use";
                Err((place, Problem::new("this alias has no anchor", help)))
            }
        }
    }

    fn spend(&mut self, nodes: usize, place: &Place) -> Taken {
        let too_large = || {
            let message = format!("the file holds more than {MAX_NODES} values");
            (place.clone(), Problem::new(message, "split it into several files"))
        };
        self.nodes_left = self.nodes_left.checked_sub(nodes).ok_or_else(too_large)?;
        Ok(())
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Taken {
        self.spend(1, &place)?;
        if self.open.len() == MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err((place, Problem::new(message, "no document needs that; check the brackets")));
        }
        self.open.push(Open { place, anchor, content });
        Ok(())
    }

    /// `node` is whole: it goes where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Taken {
        if anchor > 0 {
            self.spend(node.size(), &node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Mapping { entries, lines, key }) => {
                match std::mem::replace(key, Key::Awaited) {
                    Key::Awaited => *key = read_key(node, lines, self.diagnostics),
                    Key::Read(key, place) => entries.push(Entry { key, place, value: node }),
                    Key::Unusable => {}
                };
            }
        }
        Ok(())
    }
}

fn tag_of<'e>(event: &'e Event<'_>) -> Option<&'e Tag> {
    match event {
        Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => {
            tag.as_deref()
        }
        _ => None,
    }
}

fn read_key(node: Node, lines: &mut BTreeMap<String, usize>, diagnostics: &mut Diagnostics) -> Key {
    let Value::Scalar { text, .. } = node.value else {
        let message = format!("a key must be a word, found {}", node.describe());
        diagnostics.push(&node.place, Problem::new(message, "write `key: value`"));
        return Key::Unusable;
    };
    if let Some(first) = lines.get(&text) {
        let message = format!("`{text}` is written twice, first on line {first}");
        diagnostics.push(&node.place, Problem::new(message, "keep one of the two"));
        return Key::Unusable;
    }
    lines.insert(text.clone(), node.place.line);
    Key::Read(text, node.place)
}
