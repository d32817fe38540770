//! Decides about an entry's own request: which interaction it asks for, and what of it no server can take.

use super::{Resources, check_type, judge, too_large};
use crate::{
    fhir::{
        TextRange,
        bundle::Request,
        condition::{Condition, written},
        reference::is_id,
        request::RequestUrl,
    },
    plan::{Planner, Reason, ReasonCode},
    record::Operation,
    source::{EntryAround, Found},
};

/// An entry's request, as texts.
pub(super) struct Asked<'a> {
    method: &'a str,
    url: RequestUrl<'a>,
    if_none_exist: Option<&'a str>,
}

/// The advice about requests that do not go: one that the load makes takes their place.
const INTERACTION: &str = "`interaction` in the load makes a request of its own";

impl Resources {
    pub(super) fn judge_entry(
        &mut self,
        planner: &Planner<'_>,
        found: &Found<'_>,
        entry: &EntryAround<'_>,
    ) -> Result<Operation, Reason> {
        let interaction = self.entry_interaction(planner, found, entry)?;
        match too_large(planner, found) {
            Some(reason) => Err(reason),
            None => Ok(interaction),
        }
    }

    fn entry_interaction(
        &mut self,
        planner: &Planner<'_>,
        found: &Found<'_>,
        entry: &EntryAround<'_>,
    ) -> Result<Operation, Reason> {
        if planner.settings().interaction.is_some() && entry.resource.is_some() {
            return judge(planner, found);
        }
        let Some(Request {
            method,
            url,
            if_none_exist,
            ..
        }) = entry.envelope.request
        else {
            let message = format!("the entry has no request; {INTERACTION}");
            return Err(at("request", Reason::new(ReasonCode::NoRequest, message)));
        };
        let text = |part: Option<TextRange>| part.map(|part| part.text(entry.bytes));
        let (method, url, condition) = (text(method), text(url), text(if_none_exist));
        let asked = Asked {
            method: method.as_deref().unwrap_or(""),
            url: RequestUrl::read(url.as_deref().unwrap_or("")),
            if_none_exist: condition.as_deref(),
        };
        let interaction = asked.interaction(self.base.as_deref())?;
        let needs_resource = !matches!(interaction, Operation::Delete);
        if needs_resource && entry.resource.is_none() {
            return Err(Reason::new(
                ReasonCode::NoResource,
                "the entry holds no resource",
            ));
        }
        if needs_resource && interaction != Operation::Patch {
            let kind = found
                .resource_type()
                .ok_or_else(|| Reason::new(ReasonCode::NoType, "it has no resourceType"))?;
            check_type(planner.facts(), &kind)?;
            asked.agrees(interaction, &kind, found.id().as_deref())?;
        }
        let has_front = asked
            .if_none_exist
            .is_some_and(|text| written(text).has_front);
        if interaction == Operation::ConditionalCreate && has_front {
            let bundle = self.bundle.as_ref().map_or("?", |bundle| &bundle.place);
            let entry = found.position.entry.unwrap_or_default();
            let place = || format!("entry {entry} of the Bundle at {bundle}");
            self.fronts.get_or_insert_with(|| (0, place())).0 += 1;
        }
        Ok(interaction)
    }
}

impl Asked<'_> {
    /// Returns the interaction that is asked for. `own` is the base under which the target is known.
    fn interaction(&self, own: Option<&str>) -> Result<Operation, Reason> {
        let url = self.url;
        let wrong = |message: &str| {
            Err(at(
                "request.url",
                Reason::new(ReasonCode::BadRequestUrl, message),
            ))
        };
        if url.base.is_some() && url.base != own {
            let message = format!(
                "the entry's request.url is absolute, and the standard has it relative to the store: it may mean another server; {INTERACTION}"
            );
            return Err(at(
                "request.url",
                Reason::new(ReasonCode::AbsoluteRequestUrl, message),
            ));
        }
        match self.method {
            _ if url.kind.is_empty() => wrong("the entry's request names no url"),
            "POST" if url.kind.contains('$') || url.kind.contains("_search") => operation(),
            "POST" if url.id.is_some_and(|id| id.contains('$') || id == "_search") => operation(),
            "POST" if url.id.is_some_and(|id| !id.is_empty()) => {
                wrong("the entry's request is a POST, and its url names an id")
            }
            "POST" => match self.if_none_exist {
                Some(condition) => self.conditional(condition),
                None => Ok(Operation::Create),
            },
            "PUT" => match (url.id, url.query) {
                (Some(id), _) if is_id(id) => Ok(Operation::Update),
                (Some(_), _) => {
                    let message = "the id in the entry's request.url is not one that FHIR allows";
                    Err(at("request.url", Reason::new(ReasonCode::BadId, message)))
                }
                (None, Some(query)) if Condition::read(query).is_some() => {
                    Ok(Operation::ConditionalUpdate)
                }
                _ => wrong("the entry's request.url names neither id nor condition"),
            },
            "PATCH" => Ok(Operation::Patch),
            "DELETE" => Ok(Operation::Delete),
            _ => {
                let message =
                    format!("the entry's request.method is not one of FHIR's; {INTERACTION}");
                Err(at(
                    "request.method",
                    Reason::new(ReasonCode::BadMethod, message),
                ))
            }
        }
    }

    fn conditional(&self, condition: &str) -> Result<Operation, Reason> {
        let written = written(condition);
        let wrong = |code: ReasonCode, message: &str| {
            Err(at("request.ifNoneExist", Reason::new(code, message)))
        };
        if written.kind.is_some_and(|kind| kind != self.url.kind) {
            let message = "its ifNoneExist searches another type than its request.url names";
            return wrong(ReasonCode::ConditionTypeDiffers, message);
        }
        if Condition::read(written.query).is_none() {
            return wrong(
                ReasonCode::NoCondition,
                "its ifNoneExist holds no condition",
            );
        }
        Ok(Operation::ConditionalCreate)
    }

    /// Tells whether the resource is what the URL names: servers refuse what is not
    /// (<https://hl7.org/fhir/R4/http.html#update>).
    fn agrees(&self, interaction: Operation, kind: &str, id: Option<&str>) -> Result<(), Reason> {
        if self.url.kind != kind {
            let message = format!(
                "the entry's request.url names another type than its resource has; {INTERACTION}"
            );
            return Err(at(
                "request.url",
                Reason::new(ReasonCode::TypeDiffers, message),
            ));
        }
        match (interaction, self.url.id, id) {
            (Operation::Update, Some(_), None) => {
                let message = "the entry's request.url names an id, and its resource has none: servers refuse that; give the resource that id";
                Err(at("resource.id", Reason::new(ReasonCode::NoId, message)))
            }
            (Operation::Update, Some(of_url), Some(id)) if of_url != id => {
                let message = format!(
                    "the entry's request.url names another id than its resource has: servers refuse that; {INTERACTION}"
                );
                Err(at(
                    "resource.id",
                    Reason::new(ReasonCode::IdDiffers, message),
                ))
            }
            _ => Ok(()),
        }
    }
}

fn operation<T>() -> Result<T, Reason> {
    let message = "the entry calls an operation, and that is not loading";
    Err(at(
        "request.url",
        Reason::new(ReasonCode::OperationEntry, message),
    ))
}

/// Says where in the entry something is wrong.
fn at(path: &str, reason: Reason) -> Reason {
    Reason {
        path: Some(path.to_owned()),
        ..reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Option<&str> = Some("https://here.example/r4/");

    fn asked<'a>(method: &'a str, url: &'a str, if_none_exist: Option<&'a str>) -> Asked<'a> {
        Asked {
            method,
            url: RequestUrl::read(url),
            if_none_exist,
        }
    }

    fn of(method: &str, url: &str, if_none_exist: Option<&str>) -> Result<Operation, String> {
        let asked = asked(method, url, if_none_exist).interaction(OWN);
        asked.map_err(|reason| reason.code.as_str().to_owned())
    }

    #[test]
    fn requests_ask_for_interactions_or_for_nothing_that_goes() {
        use Operation::{ConditionalCreate, ConditionalUpdate, Create, Delete, Patch, Update};
        for (method, url, condition, expected) in [
            ("POST", "Patient", None, Ok(Create)),
            ("POST", "/Patient", None, Ok(Create)),
            ("POST", "Patient/", None, Ok(Create)),
            (
                "POST",
                "Patient",
                Some("identifier=a|b"),
                Ok(ConditionalCreate),
            ),
            (
                "POST",
                "Patient",
                Some("?identifier=a|b"),
                Ok(ConditionalCreate),
            ),
            (
                "POST",
                "Patient",
                Some("Patient?identifier=a|b"),
                Ok(ConditionalCreate),
            ),
            (
                "POST",
                "Patient",
                Some("Group?identifier=a|b"),
                Err("condition-type-differs"),
            ),
            ("POST", "Patient", Some("Patient?"), Err("no-condition")),
            ("POST", "Patient", Some(""), Err("no-condition")),
            ("POST", "Patient/1", None, Err("bad-request-url")),
            ("POST", "$process-message", None, Err("operation-entry")),
            ("POST", "Patient/$match", None, Err("operation-entry")),
            ("POST", "Patient/_search", None, Err("operation-entry")),
            ("PUT", "Patient/1", None, Ok(Update)),
            ("PUT", "https://here.example/r4/Patient/1", None, Ok(Update)),
            (
                "PUT",
                "https://there.example/r4/Patient/1",
                None,
                Err("absolute-request-url"),
            ),
            ("PUT", "Patient/a_b", None, Err("bad-id")),
            ("PUT", "Patient/", None, Err("bad-id")),
            ("PUT", "Patient?identifier=a|b", None, Ok(ConditionalUpdate)),
            ("PUT", "Patient?", None, Err("bad-request-url")),
            ("PUT", "Patient", None, Err("bad-request-url")),
            ("PUT", "", None, Err("bad-request-url")),
            ("put", "Patient/1", None, Err("bad-method")),
            ("", "Patient/1", None, Err("bad-method")),
            ("PATCH", "Patient/1", None, Ok(Patch)),
            ("DELETE", "Patient/1", None, Ok(Delete)),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(
                of(method, url, condition),
                expected,
                "{method} {url} {condition:?}"
            );
        }
    }

    #[test]
    fn the_resource_has_to_be_what_the_url_names() {
        let code = |url: &str, kind: &str, id: Option<&str>| {
            let agrees = asked("PUT", url, None).agrees(Operation::Update, kind, id);
            agrees.err().map(|reason| reason.code.as_str())
        };
        assert_eq!(code("Patient/1", "Patient", Some("1")), None);
        for (url, kind, id, expected) in [
            ("Patient/1", "Group", Some("1"), "type-differs"),
            ("Patient/1", "Patient", Some("2"), "id-differs"),
            ("Patient/1", "Patient", None, "no-id"),
        ] {
            assert_eq!(code(url, kind, id), Some(expected));
        }
        // By condition the store decides about the id.
        let by = asked("PUT", "Patient?a=b", None);
        assert!(
            by.agrees(Operation::ConditionalUpdate, "Patient", None)
                .is_ok()
        );
    }
}
