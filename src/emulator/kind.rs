//! The resource types of FHIR R4 and the syntax of ids.

pub(super) use crate::fhir::reference::is_id;
use crate::fhir::types::RESOURCE_TYPES;

/// Returns the type of that name as it stands in the table; types are case sensitive.
pub(super) fn kind(name: &str) -> Option<&'static str> {
    RESOURCE_TYPES
        .binary_search(&name)
        .ok()
        .and_then(|at| RESOURCE_TYPES.get(at).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_case_sensitive() {
        assert!(RESOURCE_TYPES.is_sorted());
        assert_eq!(kind("Patient"), Some("Patient"));
        assert_eq!(kind("patient"), None);
        assert_eq!(kind("DomainResource"), None);
    }

    #[test]
    fn ids() {
        assert!(is_id("a.B-9") && is_id(&"a".repeat(64)));
        assert!(!is_id("") && !is_id(&"a".repeat(65)) && !is_id("a_b") && !is_id("ä"));
    }
}
