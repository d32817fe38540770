//! The values of search parameters, as they are written: alternatives, escapes, tokens.

/// One form of a token parameter: `value`, `system|value`, `|value` (no system), `system|`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenTest {
    pub(super) system: Option<String>,
    pub(super) value: Option<String>,
}

impl TokenTest {
    /// Reads one form; `None` when the text has none of them.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (system, value) = match split(text, '|').as_slice() {
            [value] if !value.is_empty() => (None, Some(unescape(value))),
            [system, ""] if !system.is_empty() => (Some(unescape(system)), None),
            [system, value] if !value.is_empty() => (Some(unescape(system)), Some(unescape(value))),
            _ => return None,
        };
        Some(Self { system, value })
    }

    /// Compares a code. One whose system is fixed by FHIR (`None`) is in any system of FHIR's own.
    pub(super) fn is_met(&self, system: Option<&str>, value: &str) -> bool {
        let in_system = match (&self.system, system) {
            (None, _) => true,
            (Some(wanted), Some(system)) => wanted == system,
            (Some(wanted), None) => wanted.starts_with("http://hl7.org/fhir/"),
        };
        in_system && self.value.as_ref().is_none_or(|wanted| wanted == value)
    }
}

/// Splits at a separator that no backslash escapes (FHIR R4, "Escaping Search Parameters").
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == separator {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + letter.len_utf8();
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Undoes the escapes of a value.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        out.push(if letter == '\\' {
            letters.next().unwrap_or('\\')
        } else {
            letter
        });
    }
    out
}
