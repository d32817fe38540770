//! The warnings in the head of an answer (RFC 9111 §5.5), in which some stores say why they refuse: kept beside their words.

use http::HeaderMap;

/// The most that is kept of them.
const LONGEST: usize = 4096;

/// Returns the warnings of an answer, one a line: content.
pub(super) fn of(headers: &HeaderMap) -> String {
    let values = headers.get_all(http::header::WARNING).iter();
    let values: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let text = values.join("\n");
    text.chars().take(LONGEST).collect()
}

/// Puts warnings into a store's words: JSON stays JSON.
pub(super) fn beside(said: &str, warnings: &str) -> String {
    if warnings.is_empty() {
        return said.to_owned();
    }
    let trimmed = said.trim();
    let is_object =
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(trimmed).is_ok();
    match trimmed.strip_prefix('{').filter(|_| is_object) {
        Some(rest) => {
            let comma = if rest.trim_start() == "}" { "" } else { "," };
            let warnings = serde_json::Value::from(warnings);
            format!("{{\"Warning\":{warnings}{comma}{rest}")
        }
        None if trimmed.is_empty() => format!("Warning: {warnings}"),
        None => format!("{said}\nWarning: {warnings}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_stays_json_and_nothing_is_lost() {
        let warning = "299 pacs: \"no rule\"";
        let beside = |said| beside(said, warning);
        let json = r#"{"Warning":"299 pacs: \"no rule\"","a":1}"#;
        assert_eq!(beside(r#" {"a":1}"#), json);
        assert_eq!(beside("{}"), r#"{"Warning":"299 pacs: \"no rule\""}"#);
        assert_eq!(beside("{no"), "{no\nWarning: 299 pacs: \"no rule\"");
        assert_eq!(beside(""), "Warning: 299 pacs: \"no rule\"");
        assert_eq!(super::beside("{}", ""), "{}");
    }

    #[test]
    fn each_warning_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), "");
        for text in ["299 a \"one\"", "199 a \"two\""] {
            headers.append("warning", text.parse().unwrap());
        }
        assert_eq!(of(&headers), "299 a \"one\"\n199 a \"two\"");
    }
}
