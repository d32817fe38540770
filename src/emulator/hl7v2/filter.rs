//! The filters of messages: comparisons of their fields, joined by AND, OR, NOT and parentheses.
//!
//! As in all of Google's filters (AIP-160), expressions side by side must both hold, and OR binds closer than AND.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::super::google::invalid;
use super::super::json::{Json, Object};
use super::super::reply::Refusal;
use super::super::stores::hl7v2::Content;

/// The greatest depth of a nested filter.
const MAX_DEPTH: usize = 32;

/// The parts of a message that a filter looks at.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) created: i64,
    pub(super) content: Content,
    /// A JSON object.
    pub(super) labels: String,
}

/// A filter; see the [module](self).
#[derive(Debug)]
pub(super) struct Filter {
    expression: Expression,
    zone: TimeZone,
}

#[derive(Debug)]
enum Expression {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    MessageType(String),
    SendFacility(String),
    SendDate(Compare, Date),
    SendTime(Compare, i64),
    CreateTime(Compare, i64),
    Patient(String, String),
    Label(String, Option<String>),
}

#[derive(Debug, Clone, Copy)]
enum Compare {
    Equal,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Compare {
    fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::More => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
}

/// The signs, longer ones first.
const SIGNS: [&str; 12] = [
    "!=", "<=", ">=", ":*", "=", "<", ">", ":", "(", ")", ",", ".",
];

fn wrong(why: &str) -> Refusal {
    invalid(format!("invalid filter: {why}"))
}

fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let mut value = String::new();
            let mut letters = rest.char_indices().skip(1);
            let end = loop {
                match letters.next() {
                    Some((at, '"')) => break at + 1,
                    Some((_, '\\')) => value.extend(letters.next().map(|(_, letter)| letter)),
                    Some((_, letter)) => value.push(letter),
                    None => return Err(wrong("a text without its closing quotation mark")),
                }
            };
            found.push(Token::Text(value));
            rest = rest.get(end..).unwrap_or_default();
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token::Sign(sign));
            rest = rest.get(sign.len()..).unwrap_or_default();
        } else {
            let end =
                rest.find(|letter: char| letter.is_whitespace() || "\"=<>!:(),.".contains(letter));
            let end = end.unwrap_or(rest.len()).max(first.len_utf8());
            let (word, behind) = rest.split_at(end);
            found.push(Token::Word(word.to_owned()));
            rest = behind;
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

impl Filter {
    /// Reads a filter; an empty one lets everything through.
    pub(super) fn parse(text: &str, zone: TimeZone) -> Result<Self, Refusal> {
        let tokens = tokens(text)?;
        let mut parser = Parser {
            tokens: tokens.into_iter().peekable(),
            depth: 0,
        };
        let expression = if parser.tokens.peek().is_none() {
            Expression::All(Vec::new())
        } else {
            parser.all()?
        };
        if parser.tokens.next().is_some() {
            return Err(wrong("a closing parenthesis without its opening one"));
        }
        Ok(Self { expression, zone })
    }

    /// Tells whether a message meets it.
    pub(super) fn lets_through(&self, facts: &Facts) -> bool {
        self.holds(&self.expression, facts)
    }

    fn holds(&self, expression: &Expression, facts: &Facts) -> bool {
        let content = &facts.content;
        match expression {
            Expression::All(parts) => parts.iter().all(|part| self.holds(part, facts)),
            Expression::Any(parts) => parts.iter().any(|part| self.holds(part, facts)),
            Expression::Not(part) => !self.holds(part, facts),
            Expression::MessageType(text) => has(&content.kind, text),
            Expression::SendFacility(text) => has(&content.facility, text),
            Expression::SendDate(compare, date) => content.sent.is_some_and(|sent| {
                let sent = Timestamp::from_microsecond(sent).unwrap_or(Timestamp::UNIX_EPOCH);
                compare.holds(&sent.to_zoned(self.zone.clone()).date(), date)
            }),
            Expression::SendTime(compare, time) => {
                content.sent.is_some_and(|sent| compare.holds(&sent, time))
            }
            Expression::CreateTime(compare, time) => compare.holds(&facts.created, time),
            Expression::Patient(value, kind) => {
                let ids = Json::parse(content.patients.as_bytes()).unwrap_or(Json::Null);
                ids.each().iter().any(|id| {
                    let text = |name: &str| {
                        let fields = id.as_object();
                        fields
                            .and_then(|fields| fields.get(name)?.as_text())
                            .unwrap_or_default()
                    };
                    text("value") == value && text("type") == kind
                })
            }
            Expression::Label(key, value) => {
                let labels = match Json::parse(facts.labels.as_bytes()) {
                    Ok(Json::Object(labels)) => labels,
                    _ => Object::new(),
                };
                labels.get(key).is_some_and(|found| {
                    value
                        .as_ref()
                        .is_none_or(|value| found.as_text() == Some(value))
                })
            }
        }
    }
}

/// "Text is searched within the field": the field, or one of its words.
fn has(field: &str, text: &str) -> bool {
    field == text || field.split_whitespace().any(|word| word == text)
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

impl Parser {
    fn is_word(&mut self, word: &str) -> bool {
        self.tokens.peek() == Some(&Token::Word(word.to_owned()))
    }

    fn take_sign(&mut self, sign: &'static str) -> bool {
        self.tokens.next_if_eq(&Token::Sign(sign)).is_some()
    }

    fn all(&mut self) -> Result<Expression, Refusal> {
        let mut parts = vec![self.any()?];
        loop {
            if self.is_word("AND") {
                self.tokens.next();
            } else if matches!(self.tokens.peek(), None | Some(Token::Sign(")"))) {
                return Ok(match parts.len() {
                    1 => parts.remove(0),
                    _ => Expression::All(parts),
                });
            }
            parts.push(self.any()?);
        }
    }

    fn any(&mut self) -> Result<Expression, Refusal> {
        let mut parts = vec![self.not()?];
        while self.is_word("OR") {
            self.tokens.next();
            parts.push(self.not()?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::Any(parts),
        })
    }

    fn not(&mut self) -> Result<Expression, Refusal> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(wrong("nested too deeply"));
        }
        let expression = if self.is_word("NOT") || self.is_word("-") {
            self.tokens.next();
            Expression::Not(Box::new(self.not()?))
        } else if self.take_sign("(") {
            let inner = self.all()?;
            if !self.take_sign(")") {
                return Err(wrong("an opening parenthesis without its closing one"));
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn comparison(&mut self) -> Result<Expression, Refusal> {
        let Some(Token::Word(field)) = self.tokens.next() else {
            return Err(wrong("expected the name of a field"));
        };
        match field.as_str() {
            "message_type" | "messageType" => Ok(Expression::MessageType(self.equal()?)),
            "send_facility" | "sendFacility" => Ok(Expression::SendFacility(self.equal()?)),
            "send_date" | "sendDate" => {
                let (compare, value) = self.compared()?;
                let date = value
                    .parse()
                    .map_err(|_| wrong("a date has the form YYYY-MM-DD"))?;
                Ok(Expression::SendDate(compare, date))
            }
            "send_time" | "sendTime" => {
                let (compare, value) = self.compared()?;
                Ok(Expression::SendTime(compare, instant(&value)?))
            }
            "create_time" | "createTime" => {
                let (compare, value) = self.compared()?;
                Ok(Expression::CreateTime(compare, instant(&value)?))
            }
            "PatientId" => {
                let is_open = self.take_sign("(");
                let value = self.value()?;
                let is_parted = self.take_sign(",");
                let kind = self.value()?;
                if is_open && is_parted && self.take_sign(")") {
                    Ok(Expression::Patient(value, kind))
                } else {
                    Err(wrong("expected PatientId(\"value\", \"type\")"))
                }
            }
            "labels" => {
                if !self.take_sign(".") {
                    return Err(wrong("expected labels.\"key\""));
                }
                let key = self.value()?;
                if self.take_sign(":*") {
                    return Ok(Expression::Label(key, None));
                }
                Ok(Expression::Label(key, Some(self.equal()?)))
            }
            other => Err(wrong(&format!("unknown field \"{other}\""))),
        }
    }

    fn equal(&mut self) -> Result<String, Refusal> {
        match self.compared()? {
            (Compare::Equal, value) => Ok(value),
            _ => Err(wrong("texts are compared with `=` only")),
        }
    }

    fn compared(&mut self) -> Result<(Compare, String), Refusal> {
        let compare = match self.tokens.next() {
            Some(Token::Sign("=")) => Compare::Equal,
            Some(Token::Sign("<")) => Compare::Less,
            Some(Token::Sign("<=")) => Compare::AtMost,
            Some(Token::Sign(">")) => Compare::More,
            Some(Token::Sign(">=")) => Compare::AtLeast,
            _ => return Err(wrong("expected one of = < <= > >=")),
        };
        Ok((compare, self.value()?))
    }

    fn value(&mut self) -> Result<String, Refusal> {
        match self.tokens.next() {
            Some(Token::Text(text)) => Ok(text),
            // A time without quotation marks comes in parts.
            Some(Token::Word(mut word)) => {
                let is_time = word.starts_with(|letter: char| letter.is_ascii_digit());
                while is_time && (self.take_sign(":") || self.take_sign(".")) {
                    if let Some(Token::Word(more)) = self.tokens.next() {
                        word.push(if word.matches(':').count() < 2 {
                            ':'
                        } else {
                            '.'
                        });
                        word.push_str(&more);
                    }
                }
                Ok(word)
            }
            _ => Err(wrong("expected a value")),
        }
    }
}

/// Reads an RFC 3339 time; a date alone is its first moment in UTC.
pub(super) fn instant(text: &str) -> Result<i64, Refusal> {
    let time: Result<Timestamp, _> = text.parse();
    let time = time.or_else(|_| {
        let date: Date = text.parse()?;
        date.to_zoned(TimeZone::UTC)?
            .timestamp()
            .checked_add(0.seconds())
    });
    time.map(Timestamp::as_microsecond)
        .map_err(|_| wrong("a time has the form of RFC 3339, such as 2017-01-02T00:00:00-05:00"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lets_through(filter: &str) -> bool {
        let facts = Facts {
            created: 1_750_000_000_000_000,
            content: Content {
                kind: "ADT".to_owned(),
                facility: "NORTH WING".to_owned(),
                // 2018-01-01T03:00:00Z
                sent: Some(1_514_775_600_000_000),
                patients: r#"[{"value":"1","type":"MRN"},{"value":"2"}]"#.to_owned(),
            },
            labels: r#"{"priority":"high"}"#.to_owned(),
        };
        let zone = TimeZone::get("America/New_York").unwrap();
        Filter::parse(filter, zone).unwrap().lets_through(&facts)
    }

    #[test]
    fn comparisons() {
        for filter in [
            "",
            "message_type = \"ADT\"",
            "message_type=ADT",
            "NOT message_type = \"ORU\"",
            "send_facility = \"NORTH WING\" AND send_facility = WING",
            "send_date = \"2017-12-31\"",
            "sendDate <= 2017-12-31 send_date > 2017-12-30",
            "send_time = \"2018-01-01T03:00:00Z\"",
            "send_time < 2018-01-01T03:00:01.5Z",
            "send_time >= \"2017-12-31T22:00:00-05:00\"",
            "create_time > \"2017-01-02\"",
            "PatientId(\"1\", \"MRN\")",
            "PatientId(\"2\", \"\")",
            "labels.\"priority\"=\"high\"",
            "labels.priority = high",
            "labels.\"priority\":*",
            "message_type = \"ORU\" OR message_type = \"ADT\"",
            "(message_type = ORU AND message_type = ADT) OR NOT labels.\"x\":*",
            // OR binds closer.
            "message_type = ADT OR message_type = ORU AND labels.priority = high",
        ] {
            assert!(lets_through(filter), "{filter}");
        }
        for filter in [
            "message_type = \"AD\"",
            "NOT message_type = \"ADT\"",
            "send_date = \"2018-01-01\"",
            "send_time < \"2018-01-01T03:00:00Z\"",
            "PatientId(\"1\", \"SSN\")",
            "labels.\"x\":*",
            "labels.\"priority\"=\"low\"",
            "message_type = ADT OR message_type = ORU AND labels.priority = low",
        ] {
            assert!(!lets_through(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter() {
        for filter in [
            "message_type != \"ADT\"",
            "message_type > \"ADT\"",
            "message_type",
            "=",
            "color = red",
            "message_type = \"ADT",
            "(message_type = ADT",
            "message_type = ADT)",
            "message_type = ADT AND",
            "PatientId(\"1\")",
            "labels = x",
            "send_date = yesterday",
            "send_time = 12",
            "NOT",
        ] {
            let refused = Filter::parse(filter, TimeZone::UTC);
            assert!(refused.is_err(), "{filter}");
        }
        let deep = format!("{}message_type=ADT", "(".repeat(10_000));
        assert!(Filter::parse(&deep, TimeZone::UTC).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(filter in "([a-z_ .:=<>!(),\"é\\\\0-9-]|message_type|AND|OR|NOT|labels|PatientId){0,30}") {
            let _ = Filter::parse(&filter, TimeZone::UTC);
        }
    }
}
