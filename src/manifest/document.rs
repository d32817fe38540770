//! YAML text into a tree in which every key and every value knows its place.
//!
//! The keys of a manifest are not known here; only YAML is. Anchors, aliases and merge keys (`<<`) are worked in, so
//! that the tree holds plain maps. Duplicate keys and tags are noted and reading goes on; text that is not YAML ends
//! it.
//!
//! The parser tells a place only in its errors. So each key and value is met twice: first with [`Peek`],
//! whose one purpose is to fail before anything is consumed, with an error that holds the place; then in
//! earnest. One pass gives all places, where a search per place would read the text again for each.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use serde::{
    Deserialize,
    de::{
        DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess,
        Visitor,
    },
};

use super::{
    depth,
    flaw::{Context, TOO_MANY, lines},
    syntax::place_in,
};

pub(super) use super::flaw::{Flaw, Spot};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The place that a message about the value points at: a scalar itself, else its key.
    pub(super) spot: Spot,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_spot: Spot,
    pub(super) node: Node,
}

/// The number of keys and values by which a text may exceed its characters by means of its aliases.
const BY_ALIASES: usize = 20_000;

/// Reads a text that holds one YAML document. `None` is a text without any.
pub(super) fn parse(text: &str, file: usize) -> (Option<Node>, Vec<Flaw>) {
    let lines = lines(text);
    let context = Context::new(&lines, file, text.len().saturating_add(BY_ALIASES));
    // The parser needs time by the square of the depth, so it is measured before.
    if let Some((line, column)) = depth::too_deep(&lines) {
        context.flaw(
            context.spot(line, column, None),
            "the values are nested too deeply",
            "a manifest needs no such depth",
        );
        return (None, context.flaws.into_inner());
    }
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let root = documents.next().map(|document| {
        context.read(None).deserialize(document).map_err(|error| {
            let flaw = context.syntax(&error);
            context.flaws.borrow_mut().push(flaw);
        })
    });
    if let Some(Ok(_)) = &root
        && let Some(second) = documents.next()
    {
        let place = Peek
            .deserialize(second)
            .err()
            .and_then(|error| place_in(&error));
        let (line, column) = place.unwrap_or((1, 1));
        context.flaw(
            context.spot(line, column, None),
            "the file holds more than one YAML document",
            "remove the `---` between them, or make each a file of its own",
        );
    }
    let root = root
        .and_then(Result::ok)
        .filter(|root| !matches!(root.value, Value::Null));
    (root, context.flaws.into_inner())
}

impl<'a> Context<'a> {
    fn read(&'a self, spot: Option<Spot>) -> Read<'a> {
        Read {
            context: self,
            spot: spot.unwrap_or_else(|| self.spot(1, 1, None)),
        }
    }

    /// Finds the place of what comes next, without consuming it.
    fn peek<T, E: fmt::Display>(&self, peeked: Result<T, E>) -> Option<Spot> {
        let (line, column) = place_in(&peeked.err()?)?;
        Some(self.spot(line, column, None))
    }
}

/// Fails at whatever comes next, with an error that tells its place, and consumes nothing.
///
/// A newtype struct is transparent to the parser but counts as a level of nesting, and the error about too
/// many levels carries the place.
struct Peek;

impl<'de> DeserializeSeed<'de> for Peek {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_newtype_struct("", self)
    }
}

impl<'de> Visitor<'de> for Peek {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_newtype_struct("", self)
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Read<'a> {
    context: &'a Context<'a>,
    spot: Spot,
}

impl Read<'_> {
    fn node(self, value: Value) -> Node {
        let spot = match &value {
            Value::Text(text) => self
                .context
                .spot(self.spot.line, self.spot.column, Some(text)),
            _ => self.spot,
        };
        Node { spot, value }
    }
}

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self.context.left.get().checked_sub(1) {
            Some(left) => self.context.left.set(left),
            None => return Err(D::Error::custom(TOO_MANY)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(self.node(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(self.node(Value::Number(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(self.node(Value::Number(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(self.node(match serde_json::Number::from_f64(value) {
            Some(number) => Value::Number(number),
            None => Value::Text(value.to_string()),
        }))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(self.node(Value::Text(value.to_string())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(self.node(Value::Text(value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(self.node(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        loop {
            let spot = self.context.peek(list.next_element_seed(Peek));
            match list.next_element_seed(self.context.read(spot))? {
                Some(item) => items.push(item),
                None => return Ok(self.node(Value::List(items))),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        // The line of each key, so that the time does not grow with the square of their number.
        let mut given: HashMap<String, usize> = HashMap::new();
        loop {
            let spot = self.context.peek(map.next_key_seed(Peek));
            let Some(key) = map.next_key_seed(self.context.read(spot))? else {
                break;
            };
            let spot = self.context.peek(map.next_value_seed(Peek));
            let mut node = map.next_value_seed(self.context.read(spot))?;
            let key_spot = key.spot;
            if matches!(node.value, Value::Null | Value::List(_) | Value::Map(_)) {
                node.spot = key_spot;
            }
            let key = match key.value {
                Value::Text(key) => key,
                Value::Bool(key) => key.to_string(),
                Value::Number(key) => key.to_string(),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    let hint = "if this was meant to be a `${…}` variable, put it in quotes";
                    self.context.flaw(key_spot, "a key must be text", hint);
                    continue;
                }
            };
            if key == "<<" {
                self.merge(node, key_spot, &mut merged);
            } else if let Some(line) = given.get(&key) {
                let hint = format!("it is already given on line {line}");
                self.context
                    .flaw(key_spot, format!("the key {key:?} is given twice"), &hint);
            } else {
                given.insert(key.clone(), key_spot.line);
                entries.push(Entry {
                    key,
                    key_spot,
                    node,
                });
            }
        }
        for entry in merged {
            if !given.contains_key(&entry.key) {
                entries.push(entry);
            }
        }
        Ok(self.node(Value::Map(entries)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (tag, content) = tagged.variant_seed(Tag)?;
        // Read like any other value, so that what its aliases come to is counted.
        content.newtype_variant_seed(self)?;
        self.context.flaw(
            self.spot,
            format!("the tag `!{tag}` means nothing here"),
            "remove it, or put the value in quotes",
        );
        Ok(self.node(Value::Null))
    }
}

impl Read<'_> {
    /// Takes over the entries of `<<: *anchor` or `<<: [*one, *two]`; what came first wins.
    fn merge(self, node: Node, key: Spot, into: &mut Vec<Entry>) {
        let mut taken: HashSet<String> = into.iter().map(|entry| entry.key.clone()).collect();
        let maps = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for map in maps {
            let Value::Map(entries) = map.value else {
                let hint = "write `<<: *anchor`, where the anchor stands at a map";
                self.context
                    .flaw(key, "`<<` takes over maps, and this is none", hint);
                return;
            };
            for entry in entries {
                if taken.insert(entry.key.clone()) {
                    into.push(entry);
                }
            }
        }
    }
}

/// Reads the name of a tag.
struct Tag;

impl<'de> DeserializeSeed<'de> for Tag {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(String, usize, usize, usize)> {
        fn walk(node: &Node, name: &str, into: &mut Vec<(String, usize, usize, usize)>) {
            let Spot {
                line,
                column,
                length,
                ..
            } = node.spot;
            into.push((name.to_owned(), line, column, length));
            match &node.value {
                Value::List(items) => items.iter().for_each(|item| walk(item, "-", into)),
                Value::Map(entries) => {
                    for entry in entries {
                        let Spot {
                            line,
                            column,
                            length,
                            ..
                        } = entry.key_spot;
                        into.push((format!("{}:", entry.key), line, column, length));
                        walk(&entry.node, &entry.key, into);
                    }
                }
                _ => {}
            }
        }
        let mut places = Vec::new();
        walk(&parse(text, 0).0.unwrap(), "", &mut places);
        places
    }

    #[test]
    fn every_key_and_value_has_its_place() {
        let text = "a: &x [é, 'b c']\n# none\nbcd:\r\n  - e: *x\r\n  -\r\n";
        let expected = [
            ("", 1, 1, 1),
            ("a:", 1, 1, 1),
            ("a", 1, 1, 1),
            ("-", 1, 8, 1),
            ("-", 1, 11, 5),
            ("bcd:", 3, 1, 3),
            ("bcd", 3, 1, 3),
            ("-", 4, 5, 1),
            ("e:", 4, 5, 1),
            ("e", 4, 5, 1),
            ("-", 1, 8, 1),
            ("-", 1, 11, 5),
            ("-", 5, 4, 1),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, line, column, length)| ((*name).to_owned(), *line, *column, *length))
            .collect();
        assert_eq!(places(text), expected);
    }

    #[test]
    fn lines_are_counted_as_the_parser_counts_them() {
        let text = "a\r\nb\rc\u{85}d\u{2028}e\n\nf";
        assert_eq!(lines(text), ["a", "b", "c", "d", "e", "", "f"]);
        assert_eq!(lines(""), [""]);
    }

    #[test]
    fn what_would_never_end_is_refused() {
        let level = |level: usize| {
            let alias = format!("*a{}, ", level - 1).repeat(9);
            format!("a{level}: &a{level} [{alias}]\n")
        };
        let levels: String = (1..12).map(level).collect();
        let text = format!("a0: &a0 [x, x, x, x, x, x, x, x, x]\n{levels}");
        // Few aliases, each of which comes to much: the parser's own limit lets them pass.
        let wide =
            |name: &str, of: &str| format!("{name}: &{name} [{}]\n", format!("{of},").repeat(250));
        let square = wide("x", "a") + &wide("y", "*x") + &wide("z", "*y");
        let tagged = square.replace("z: &z", "z: !t &z");
        for (text, what) in [
            (text, "the aliases expand to far more than is written"),
            (square, "the aliases expand to far more than is written"),
            (tagged, "the aliases expand to far more than is written"),
            ("[".repeat(200_000), "the values are nested too deeply"),
            (
                "- ".repeat(100_000) + "a",
                "the values are nested too deeply",
            ),
            (
                "{a: ".repeat(1000) + &"}".repeat(1000),
                "the values are nested too deeply",
            ),
        ] {
            let (root, flaws) = parse(&text, 0);
            assert!(root.is_none());
            let last = flaws.last().map(|flaw| flaw.message.as_str());
            assert_eq!(last, Some(what));
        }
    }
}
