//! The `where` language: a subset of CEL, lowered to conditions over a source's fields.

use cel::Env;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use std::ops::Range;

use super::constant::{self, Number};
use super::decimal::Decimal;
use super::diagnostic::{Problem, suggestion};
use super::field::type_name;
use crate::core::expr::{Atom, Comparison, Condition};
use crate::core::source::{Field, FieldKind, Slot};

/// Longest condition, in bytes. It also bounds how deep the parser can nest.
const MAX_BYTES: usize = 2_000;

const LANGUAGE: &str = "a condition compares fields with constants (== != < <= > >=, in [..], \
     x.startsWith(\"a\"), has(x)) and joins them with &&, ||, !";

/// Reads a condition over `fields`.
///
/// # Errors
/// What cannot be read or has no meaning here, with the place shown below the text.
pub fn condition(text: &str, fields: &[Field]) -> Result<Condition, Problem> {
    if text.len() > MAX_BYTES {
        return Err(Problem::new(format!("a condition has at most {MAX_BYTES} bytes"), "split the rule"));
    }
    // An environment without macros: they would refuse `has(x)` of a plain field.
    let (tree, info) = Env::default().parser().parse_with_source_info(text).map_err(|errors| {
        let first = errors.errors.first();
        let (line, column) = first.map_or((1, 1), |e| e.pos);
        let message = first.map_or("the condition is not readable", |e| e.msg.as_str());
        // The parser's list of every token it could have taken helps nobody.
        let message = message.split(" expecting ").next().unwrap_or(message);
        let help = match message.contains("reserved identifier") {
            true => "the word is reserved; declare the field under another name and say its `path:`",
            false => LANGUAGE,
        };
        Problem::new(format!("{message}{}", show_position(text, line, column)), help)
    })?;
    let lowering = Lowering { text, info, fields };
    lowering.boolean(&tree).map_err(|wrong| {
        let message = format!("{}{}", wrong.problem.message, show_range(text, wrong.at));
        Problem::new(message, wrong.problem.help)
    })
}

struct Lowering<'a> {
    text: &'a str,
    info: SourceInfo,
    fields: &'a [Field],
}

struct Wrong {
    /// Bytes of the text.
    at: Range<usize>,
    problem: Problem,
}

type Lowered<T> = Result<T, Wrong>;

/// A constant as the text has it.
enum Constant {
    Number(Decimal),
    Text(String),
    Boolean(bool),
}

/// One side of a comparison.
enum Side {
    Field(Slot),
    Constant(Constant),
}

impl Lowering<'_> {
    fn boolean(&self, e: &IdedExpr) -> Lowered<Condition> {
        match &e.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => Ok(constant::truth(*value.inner())),
            Expr::Ident(_) | Expr::Select(_) => {
                let slot = self.field(e)?;
                match self.fields[slot].kind {
                    FieldKind::Boolean => Ok(Condition::Atom(Atom::IsTrue(slot))),
                    _ => {
                        let help = format!("compare it, or write has({})", self.fields[slot].name);
                        Err(self.wrong(e, format!("{} is no condition by itself", self.kind(slot)), help))
                    }
                }
            }
            Expr::Call(call) => self.call(e, call),
            _ => Err(self.wrong(e, "this cannot be a condition", LANGUAGE)),
        }
    }

    fn call(&self, e: &IdedExpr, call: &CallExpr) -> Lowered<Condition> {
        match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            (operators::LOGICAL_AND, None, [_, _]) => {
                let mut parts = Vec::new();
                self.flatten(e, operators::LOGICAL_AND, &mut parts)?;
                Ok(Condition::And(parts))
            }
            (operators::LOGICAL_OR, None, [_, _]) => {
                let mut parts = Vec::new();
                self.flatten(e, operators::LOGICAL_OR, &mut parts)?;
                Ok(Condition::Or(parts))
            }
            (operators::LOGICAL_NOT, None, [inner]) => Ok(Condition::Not(Box::new(self.boolean(inner)?))),
            (operators::HAS, None, [field]) => Ok(Condition::Atom(Atom::Has(self.field(field)?))),
            (operators::IN, None, [field, list]) => self.membership(e, field, list),
            ("startsWith", Some(field), [prefix]) => self.prefix(e, field, prefix),
            (name, None, [left, right]) => match comparison_of(name) {
                Some(operator) => self.comparison(e, left, operator, right),
                None => Err(self.wrong(e, "this operation is not supported", LANGUAGE)),
            },
            _ => Err(self.wrong(e, "this function is not supported", LANGUAGE)),
        }
    }

    /// The parts of a chain of one operator, left to right; the parser balances chains into a tree.
    fn flatten(&self, e: &IdedExpr, operator: &str, parts: &mut Vec<Condition>) -> Lowered<()> {
        match &e.expr {
            Expr::Call(call) if call.func_name == operator => {
                call.args.iter().try_for_each(|part| self.flatten(part, operator, parts))
            }
            _ => {
                parts.push(self.boolean(e)?);
                Ok(())
            }
        }
    }

    fn comparison(
        &self,
        e: &IdedExpr,
        left: &IdedExpr,
        operator: Operator,
        right: &IdedExpr,
    ) -> Lowered<Condition> {
        let (slot, operator, constant) = match (self.side(left)?, self.side(right)?) {
            (Side::Field(slot), Side::Constant(constant)) => (slot, operator, constant),
            (Side::Constant(constant), Side::Field(slot)) => (slot, operator.mirrored(), constant),
            (Side::Field(_), Side::Field(_)) => {
                let help = "compare each field with a constant";
                return Err(self.wrong(e, "this compares two fields", help));
            }
            (Side::Constant(_), Side::Constant(_)) => {
                return Err(self.wrong(e, "this compares two constants", "compare a field with a constant"));
            }
        };
        let equal = match (&self.fields[slot].kind, constant) {
            (FieldKind::Integer(_) | FieldKind::Decimal { .. }, Constant::Number(number)) => {
                let number = self.number(e, slot, number)?;
                match operator {
                    Operator::Is(op) => return Ok(constant::compare(slot, op, number)),
                    Operator::IsNot => constant::compare(slot, Comparison::Equal, number),
                }
            }
            (FieldKind::String { upper, .. }, Constant::Text(text)) if operator.is_equality() => {
                self.check_case(e, slot, *upper, &text)?;
                Condition::Atom(Atom::TextIn { slot, constants: vec![text] })
            }
            (FieldKind::Boolean, Constant::Boolean(value)) if operator.is_equality() => {
                constant::is_boolean(slot, value)
            }
            (_, constant) => return Err(self.misfit(e, slot, &constant)),
        };
        match operator {
            Operator::Is(_) => Ok(equal),
            Operator::IsNot => Ok(constant::present_and_not(slot, equal)),
        }
    }

    fn membership(&self, e: &IdedExpr, field: &IdedExpr, list: &IdedExpr) -> Lowered<Condition> {
        let slot = self.field(field)?;
        let Expr::List(list_expr) = &list.expr else {
            return Err(self.wrong(list, "`in` wants a list of constants", "write `x in [1, 2]`"));
        };
        if list_expr.elements.is_empty() {
            return Err(self.wrong(list, "the list is empty", "name at least one constant"));
        }
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for element in &list_expr.elements {
            let Side::Constant(constant) = self.side(element)? else {
                return Err(self.wrong(element, "this is no constant", "write `x in [1, 2]`"));
            };
            match (&self.fields[slot].kind, constant) {
                (FieldKind::Integer(_) | FieldKind::Decimal { .. }, Constant::Number(number)) => {
                    numbers.push(self.number(element, slot, number)?);
                }
                (FieldKind::String { upper, .. }, Constant::Text(text)) => {
                    self.check_case(element, slot, *upper, &text)?;
                    texts.push(text);
                }
                (_, constant) => return Err(self.misfit(e, slot, &constant)),
            }
        }
        match texts.is_empty() {
            true => Ok(constant::any_number(slot, &numbers)),
            false => {
                texts.sort();
                texts.dedup();
                Ok(Condition::Atom(Atom::TextIn { slot, constants: texts }))
            }
        }
    }

    fn prefix(&self, e: &IdedExpr, field: &IdedExpr, prefix: &IdedExpr) -> Lowered<Condition> {
        let slot = self.field(field)?;
        match (&self.fields[slot].kind, self.side(prefix)?) {
            (FieldKind::String { upper, .. }, Side::Constant(Constant::Text(text))) => {
                self.check_case(prefix, slot, *upper, &text)?;
                Ok(Condition::Atom(Atom::TextPrefix { slot, prefix: text }))
            }
            (_, Side::Constant(constant)) => Err(self.misfit(e, slot, &constant)),
            (_, Side::Field(_)) => Err(self.wrong(prefix, "the prefix must be a constant", LANGUAGE)),
        }
    }

    fn side(&self, e: &IdedExpr) -> Lowered<Side> {
        let constant = match &e.expr {
            Expr::Ident(_) | Expr::Select(_) => return Ok(Side::Field(self.field(e)?)),
            Expr::Literal(LiteralValue::Int(number)) => Constant::Number(Decimal::from(*number.inner())),
            Expr::Literal(LiteralValue::Double(number)) => {
                let token = self.text.get(self.range(e)).unwrap_or("");
                let Some(written) = Decimal::parse(token) else {
                    return Err(self.wrong(e, "this number is not readable", "write it like `0.05`"));
                };
                // The parser leaves the sign out of the token.
                let outside = number.inner().is_sign_negative() && !token.starts_with('-');
                Constant::Number(if outside { written.negated() } else { written })
            }
            Expr::Literal(LiteralValue::String(text)) => Constant::Text(text.inner().to_owned()),
            Expr::Literal(LiteralValue::Boolean(value)) => Constant::Boolean(*value.inner()),
            Expr::Call(call) if call.func_name == operators::NEGATE && call.args.len() == 1 => {
                match self.side(&call.args[0])? {
                    Side::Constant(Constant::Number(number)) => Constant::Number(number.negated()),
                    _ => return Err(self.wrong(e, "only a number can be negative", LANGUAGE)),
                }
            }
            _ => return Err(self.wrong(e, "this is neither a field nor a constant", LANGUAGE)),
        };
        Ok(Side::Constant(constant))
    }

    fn field(&self, e: &IdedExpr) -> Lowered<Slot> {
        let mut words = Vec::new();
        let mut rest = e;
        loop {
            match &rest.expr {
                Expr::Select(select) => {
                    words.push(select.field.as_str());
                    rest = &select.operand;
                }
                Expr::Ident(name) => {
                    words.push(name);
                    break;
                }
                _ => return Err(self.wrong(e, "the name of a field is wanted here", LANGUAGE)),
            }
        }
        words.reverse();
        let name = words.join(".");
        self.fields.iter().position(|f| f.name == name).ok_or_else(|| {
            let help = suggestion(&name, self.fields.iter().map(|f| f.name.as_str()));
            self.wrong(e, format!("`{name}` is not a field of this source"), help)
        })
    }

    fn number(&self, e: &IdedExpr, slot: Slot, number: Decimal) -> Lowered<Number> {
        let scale = self.fields[slot].scale();
        let too_large = || self.wrong(e, "this number is too large", "write a number with fewer digits");
        number.scaled(scale).map(Number::from).ok_or_else(too_large)
    }

    /// A field that is turned to upper case never holds a lower-case letter.
    fn check_case(&self, e: &IdedExpr, slot: Slot, upper: bool, text: &str) -> Lowered<()> {
        if upper && text.bytes().any(|b| b.is_ascii_lowercase()) {
            let message =
                format!("`{}` is turned to upper case, so this never matches", self.fields[slot].name);
            return Err(self.wrong(e, message, format!("write {:?}", text.to_ascii_uppercase())));
        }
        Ok(())
    }

    fn misfit(&self, e: &IdedExpr, slot: Slot, constant: &Constant) -> Wrong {
        let what = match constant {
            Constant::Number(_) => "a number",
            Constant::Text(_) => "a text",
            Constant::Boolean(_) => "a boolean",
        };
        let help = match self.fields[slot].kind {
            FieldKind::Timestamp(_) => "only has() takes a timestamp",
            FieldKind::String { .. } => "a string takes ==, !=, in and startsWith, with quoted constants",
            FieldKind::Integer(_) | FieldKind::Decimal { .. } => "compare it with a number, without quotes",
            FieldKind::Boolean => "write the field by itself, or compare it with == and true or false",
        };
        self.wrong(e, format!("{} cannot be compared with {what} this way", self.kind(slot)), help)
    }

    fn kind(&self, slot: Slot) -> String {
        let Field { name, kind, .. } = &self.fields[slot];
        format!("the {} `{name}`", type_name(kind))
    }

    fn wrong(&self, e: &IdedExpr, message: impl Into<String>, help: impl Into<String>) -> Wrong {
        Wrong { at: self.range(e), problem: Problem::new(message, help) }
    }

    /// The bytes of `e` with all its parts.
    fn range(&self, e: &IdedExpr) -> Range<usize> {
        // The parser's ends are inclusive.
        let own = self.info.offset_for(e.id).map_or(0..0, |(start, stop)| start as usize..stop as usize + 1);
        let parts: Vec<&IdedExpr> = match &e.expr {
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
            Expr::Select(select) => vec![&select.operand],
            Expr::List(list) => list.elements.iter().collect(),
            _ => Vec::new(),
        };
        parts
            .into_iter()
            .map(|part| self.range(part))
            .fold(own, |a, b| a.start.min(b.start)..a.end.max(b.end))
    }
}

#[derive(Clone, Copy)]
enum Operator {
    Is(Comparison),
    IsNot,
}

impl Operator {
    /// The operator with its sides exchanged.
    fn mirrored(self) -> Operator {
        match self {
            Operator::Is(Comparison::Less) => Operator::Is(Comparison::Greater),
            Operator::Is(Comparison::LessOrEqual) => Operator::Is(Comparison::GreaterOrEqual),
            Operator::Is(Comparison::GreaterOrEqual) => Operator::Is(Comparison::LessOrEqual),
            Operator::Is(Comparison::Greater) => Operator::Is(Comparison::Less),
            Operator::Is(Comparison::Equal) | Operator::IsNot => self,
        }
    }

    fn is_equality(self) -> bool {
        matches!(self, Operator::Is(Comparison::Equal) | Operator::IsNot)
    }
}

fn comparison_of(function: &str) -> Option<Operator> {
    let comparison = match function {
        operators::EQUALS => Comparison::Equal,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        operators::NOT_EQUALS => return Some(Operator::IsNot),
        _ => return None,
    };
    Some(Operator::Is(comparison))
}

/// The line of `text` that holds the range, with carets below it.
fn show_range(text: &str, at: Range<usize>) -> String {
    let before = text.get(..at.start).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let width = text.get(at).map_or(1, |part| part.lines().next().unwrap_or("").chars().count());
    show(text, line, column, width)
}

/// The same for the parser's line and column, both from 1.
fn show_position(text: &str, line: isize, column: isize) -> String {
    show(text, usize::try_from(line).unwrap_or(1), usize::try_from(column).unwrap_or(1), 1)
}

fn show(text: &str, line: usize, column: usize, width: usize) -> String {
    let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or("");
    let indent = column.saturating_sub(1).min(shown.chars().count());
    format!("\n    {shown}\n    {}{}", " ".repeat(indent), "^".repeat(width.max(1)))
}
