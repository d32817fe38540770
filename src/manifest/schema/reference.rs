//! The page that lists every key of the manifest, made from the JSON Schema, so that it cannot say anything else.

use std::{collections::VecDeque, fmt::Write as _};

use serde_json::{Map, Value};

use super::schema;

/// Begins the page.
const HEAD: &str = "\
# The manifest: every key

*Made by `stoker generate manifest-reference` from the manifest's schema; a test keeps it current.*

A manifest is YAML (or JSON). Unknown keys are errors, with a suggestion. Relative paths start at the manifest's folder.
In every value `${NAME}` and `${NAME:-default}` take a variable of the environment (`$${` is a plain `${`); a secret never
stands in a manifest, only the name of the variable or the file that holds it. Where nothing else is said, a key may be
left out.
";

/// Maps whose keys are those of another one, but for some, and what is said of them.
const ALIKE: [(&str, &str); 2] = [
    (
        "TargetDefaults",
        "They hold for every target that does not set the key itself, and are [those of a target](#targetsname)",
    ),
    (
        "LoadDefaults",
        "They hold for every load that does not set the key itself, and are [those of a load](#loads)",
    ),
];

/// Renders the page, in Markdown.
pub fn reference() -> String {
    let schema = schema();
    let page = Page {
        definitions: schema
            .get("definitions")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
    };
    let mut out = HEAD.to_owned();
    let mut queue: VecDeque<(String, Value)> = VecDeque::from([(String::new(), schema)]);
    let mut seen: Vec<String> = Vec::new();
    while let Some((path, map)) = queue.pop_front() {
        for (path, name) in page.section(&mut out, &path, &map) {
            if !seen.contains(&name)
                && let Some(map) = page.definitions.get(&name)
            {
                seen.push(name);
                queue.push_back((path, map.clone()));
            }
        }
    }
    out
}

struct Page {
    definitions: Map<String, Value>,
}

impl Page {
    /// Writes a map's section, and returns the maps below it: where they stand, and their definitions.
    fn section(&self, out: &mut String, path: &str, map: &Value) -> Vec<(String, String)> {
        let title = match path {
            "" => "The top level".to_owned(),
            path => format!("`{path}`"),
        };
        line(out, format_args!("\n## {title}\n"));
        let said = text(map, "description");
        if !said.is_empty() && !path.is_empty() {
            line(out, format_args!("{said}\n"));
        }
        let alike = ALIKE
            .iter()
            .find(|(name, ..)| self.definitions.get(*name) == Some(map));
        let mut rows = self.rows(map);
        if let Some((_, words)) = alike {
            let keys: Vec<String> = rows.iter().map(|(key, ..)| format!("`{key}`")).collect();
            line(out, format_args!("{words}: {}.", keys.join(", ")));
            // Their own maps are told there.
            return Vec::new();
        }
        line(
            out,
            format_args!("| key | value | by default | example | meaning |\n|---|---|---|---|---|"),
        );
        let mut below = Vec::new();
        for (key, value, is_required) in rows.drain(..) {
            let mut maps = Vec::new();
            let kind = self.kind(&value, &mut maps);
            let default = match value.get("default") {
                _ if is_required => "*required*".to_owned(),
                Some(default) => code(default),
                None => String::new(),
            };
            let example = self
                .example(&value)
                .map(|example| code(&example))
                .unwrap_or_default();
            let cells = [
                format!("`{key}`"),
                kind,
                default,
                example,
                text(&value, "description").to_owned(),
            ];
            let cells = cells.map(|cell| cell.replace('\n', " ").replace('|', "\\|"));
            line(out, format_args!("| {} |", cells.join(" | ")));
            for (name, within) in maps {
                let key = format!("{key}{within}");
                let path = if path.is_empty() {
                    key
                } else {
                    format!("{path}.{key}")
                };
                below.push((path, name));
            }
        }
        below
    }

    /// The keys of a map: their names, their schemas, and whether they must be given. Of a choice of maps, the keys of all.
    fn rows(&self, map: &Value) -> Vec<(String, Value, bool)> {
        let mut rows = Vec::new();
        let required: Vec<&str> = list(map, "required").filter_map(Value::as_str).collect();
        for (key, value) in map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let mut value = value.clone();
            if text(&value, "description").is_empty() {
                // The words of a choice stand at the choice.
                let said = match text(map, "description") {
                    "" => text(self.resolve(&value), "description").to_owned(),
                    said => said.to_owned(),
                };
                if let Some(value) = value.as_object_mut() {
                    value.insert("description".to_owned(), Value::from(said));
                }
            }
            let is_required =
                required.contains(&key.as_str()) && map.get("additionalProperties").is_some();
            rows.push((key.clone(), value, is_required));
        }
        if let Some(others) = map
            .get("additionalProperties")
            .filter(|others| others.is_object())
        {
            rows.push(("TYPE".to_owned(), others.clone(), false));
        }
        for choice in list(map, "oneOf").filter(|choice| choice.get("properties").is_some()) {
            rows.extend(
                self.rows(choice)
                    .into_iter()
                    .map(|(key, value, _)| (key, value, false)),
            );
        }
        rows
    }

    /// Follows references to where something is said.
    fn resolve<'v>(&'v self, value: &'v Value) -> &'v Value {
        let only = list(value, "allOf").next().unwrap_or(value);
        match name_of(only) {
            Some(name) => self
                .definitions
                .get(name)
                .map_or(only, |found| self.resolve(found)),
            None => only,
        }
    }

    /// An example of a value: its own, that of what it refers to, or for a map one of its keys that must be given.
    fn example(&self, value: &Value) -> Option<Value> {
        let found = self.resolve(value);
        let own = list(value, "examples")
            .next()
            .or_else(|| list(found, "examples").next());
        if own.is_some() {
            return own.cloned();
        }
        let rows = self.rows(found);
        let must = rows.iter().filter(|(.., is_required)| *is_required);
        let first = rows
            .first()
            .filter(|_| rows.iter().all(|(.., is_required)| !is_required));
        let example: Map<String, Value> = must
            .chain(first)
            .filter_map(|(key, value, _)| Some((key.clone(), self.example(value)?)))
            .collect();
        (!example.is_empty()).then_some(Value::Object(example))
    }

    /// Says which values a key takes; notes the maps among them, and how they stand below the key.
    fn kind(&self, value: &Value, maps: &mut Vec<(String, &'static str)>) -> String {
        let only = list(value, "allOf").next().unwrap_or(value);
        if let Some(name) = name_of(only) {
            let Some(found) = self.definitions.get(name) else {
                return String::new();
            };
            if !self.rows(found).is_empty() {
                maps.push((name.to_owned(), ""));
                return "map (below)".to_owned();
            }
            // A variable may stand in every value: that is said once.
            let words = match name {
                "NonEmpty" | "Name" => "text",
                "Variable" => "",
                name if name.ends_with("Text")
                    || text(found, "type") == "string" && found.get("pattern").is_some() =>
                {
                    return lower(text(found, "description"));
                }
                _ => return self.kind(found, maps),
            };
            return words.to_owned();
        }
        let mut choices: Vec<String> = Vec::new();
        for choice in list(only, "anyOf")
            .chain(list(only, "oneOf").filter(|one| one.get("required").is_none()))
        {
            let words = self.kind(choice, maps);
            if !words.is_empty() && !choices.contains(&words) {
                choices.push(words);
            }
        }
        if !choices.is_empty() {
            return choices.join(" or ");
        }
        if let Some(constant) = only.get("const") {
            return code(constant);
        }
        match text(only, "type") {
            "string" if only.get("enum").is_some() => {
                let words: Vec<String> = list(only, "enum").map(code).collect();
                words.join(" or ")
            }
            "string" => "text".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "integer" => match (only.get("minimum"), only.get("maximum")) {
                (Some(min), Some(max)) => format!("number, {min} to {max}"),
                _ => "number".to_owned(),
            },
            "array" => {
                let mut within = Vec::new();
                let items = only.get("items").unwrap_or(&Value::Null);
                let of = self.kind(items, &mut within);
                maps.extend(within.into_iter().map(|(name, _)| (name, "[]")));
                format!("list of {}", plural(&of))
            }
            "object" => {
                let mut within = Vec::new();
                let others = only.get("additionalProperties").unwrap_or(&Value::Null);
                let of = self.kind(others, &mut within);
                maps.extend(within.into_iter().map(|(name, _)| (name, ".NAME")));
                match of.as_str() {
                    "" => "map".to_owned(),
                    of => format!("map of names to {}", plural(of)),
                }
            }
            _ => String::new(),
        }
    }
}

/// The name of the definition to which a value refers.
fn name_of(value: &Value) -> Option<&str> {
    text(value, "$ref").strip_prefix("#/definitions/")
}

fn plural(words: &str) -> String {
    match words {
        "text" => "texts".to_owned(),
        "map" => "maps".to_owned(),
        "map (below)" => "maps (below)".to_owned(),
        words => words.to_owned(),
    }
}

fn lower(words: &str) -> String {
    let mut characters = words.trim_end_matches('.').chars();
    characters
        .next()
        .map(|first| first.to_lowercase().chain(characters).collect())
        .unwrap_or_default()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// A value as it is written in a manifest.
fn code(value: &Value) -> String {
    format!("`{}`", yaml(value))
}

fn yaml(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let members: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}: {}", yaml(value)))
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(yaml).collect();
            format!("[{}]", values.join(", "))
        }
        Value::String(text) => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || " ./_-%".contains(c);
            if text.chars().all(is_plain)
                && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.')
            {
                text.clone()
            } else {
                value.to_string()
            }
        }
        other => other.to_string(),
    }
}

fn line(out: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{words}");
}
