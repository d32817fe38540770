//! Reads the answer to a Bundle: what became of every entry.
//!
//! The standard has the answers in the order of the request, one for each. Servers are known that answer in the order in which
//! they carried out, that leave answers out, or add some. An answer is given to an entry only where nothing that it names
//! contradicts that; what is left has no answer, and is asked about.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    place::{Body, Name, OUTCOME, of_etag, place},
    response::{Asked, Verb, is_enough, is_own, may_be_echo},
};
use crate::{
    fhir::outcome::{self, Tone},
    target::{Answer, Little, Said},
};

/// Reads the answers to the entries of a Bundle, in the order of the request; none for one that the answer does not tell of.
///
/// # Errors
///
/// The reason why the body is no answer to a Bundle. The fate of the entries is then unknown.
pub fn entries(body: &[u8], asked: &[Asked<'_>]) -> Result<Vec<Option<Answer>>, String> {
    let bundle: Bundle<'_> = serde_json::from_slice(body).map_err(|e| {
        format!(
            "the answer is not a Bundle (line {}, column {})",
            e.line(),
            e.column()
        )
    })?;
    let is_answer = |kind: &str| kind.ends_with("-response");
    if bundle.resource_type != "Bundle" || bundle.kind.is_some_and(|kind| !is_answer(&kind)) {
        return Err("the answer is not the answer to a Bundle".to_owned());
    }
    let mut answers: Vec<Given> = bundle.entry.into_iter().map(Given::read).collect();
    if answers.len() != asked.len() {
        // A server's remark on the whole stands among the answers.
        answers.retain(|answer| !answer.is_remark);
    }
    let order = order(&answers, asked);
    let mut read: Vec<Option<Answer>> = order
        .iter()
        .zip(asked)
        .map(|(place, asked)| {
            let place = place.as_ref()?;
            let mut answer = answers.get(place.at)?.judge(asked)?;
            if let Said::Taken(accepted) = &mut answer.said {
                accepted.by_kind = place.by_kind;
            }
            Some(answer)
        })
        .collect();
    doubt_shared_ids(&mut read, asked);
    if answers.len() != asked.len() && read.iter().all(Option::is_none) {
        let (given, sent) = (answers.len(), asked.len());
        return Err(format!(
            "the answer has {given} entries, and {sent} were sent"
        ));
    }
    Ok(read)
}

/// The answer that belongs to an entry.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    /// It was found by the type that it names, among several.
    by_kind: bool,
}

impl Place {
    fn sure(at: usize) -> Self {
        Self { at, by_kind: false }
    }
}

/// Returns which answer belongs to each entry.
fn order(answers: &[Given], asked: &[Asked<'_>]) -> Vec<Option<Place>> {
    let fits = |order: &[usize]| {
        let mut pairs = order.iter().zip(asked);
        pairs.all(|(&at, one)| {
            answers
                .get(at)
                .is_some_and(|answer| !answer.contradicts(one, asked))
        })
    };
    if answers.len() == asked.len() {
        let as_asked: Vec<usize> = (0..asked.len()).collect();
        if fits(&as_asked) {
            return as_asked
                .into_iter()
                .map(|at| Some(Place::sure(at)))
                .collect();
        }
        // Spark and fhir-candle answer in the order in which they carried out.
        let mut carried_out = as_asked;
        carried_out.sort_by_key(|&at| asked.get(at).map(|one| one.verb.turn()));
        let mut order = vec![0; asked.len()];
        for (answer, entry) in carried_out.into_iter().enumerate() {
            if let Some(place) = order.get_mut(entry) {
                *place = answer;
            }
        }
        if fits(&order) {
            return order.into_iter().map(|at| Some(Place::sure(at))).collect();
        }
    }
    let mut order = by_name(answers, asked);
    if answers.len() == asked.len() {
        by_kind(answers, asked, &mut order);
    }
    order
}

/// Gives what was created its answers by the types that they name, where there are as many of a type as entries that create one.
/// Answers that name nothing, and all refuse with one status, are those to the entries that are left.
/// AWS's server carries out the entries of a batch in any order.
fn by_kind(answers: &[Given], asked: &[Asked<'_>], order: &mut [Option<Place>]) {
    let used: HashSet<usize> = order.iter().flatten().map(|place| place.at).collect();
    let unused = || {
        answers
            .iter()
            .enumerate()
            .filter(|(at, _)| !used.contains(at))
    };
    let mut named: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, answer) in unused() {
        if let Some(name) = answer.names.first() {
            named.entry(&name.kind).or_default().push(at);
        }
    }
    let mut entries: HashMap<&str, Vec<usize>> = HashMap::new();
    for (entry, one) in asked
        .iter()
        .enumerate()
        .filter(|(_, one)| one.own.is_none())
    {
        entries.entry(one.kind).or_default().push(entry);
    }
    let refused = refused_alike(unused().filter(|(_, answer)| answer.names.is_empty()));
    let unplaced = order.iter().filter(|place| place.is_none()).count();
    let told: usize = (entries.iter())
        .filter_map(|(kind, entries)| Some(named.get(kind)?.len().min(entries.len())))
        .sum();
    let is_rest_refused = refused.as_ref().is_some_and(|refused| {
        let is_within = |(kind, places): (&&str, &Vec<usize>)| {
            (entries.get(kind)).is_some_and(|entries| places.len() <= entries.len())
        };
        refused.len() + told == unplaced && named.iter().all(is_within)
    });
    for (kind, entries) in entries {
        let Some(places) =
            (named.get(kind)).filter(|places| places.len() == entries.len() || is_rest_refused)
        else {
            continue;
        };
        let by_kind = entries.len() > 1;
        for (entry, &at) in entries.iter().zip(places) {
            if let Some(place) = order.get_mut(*entry) {
                *place = Some(Place { at, by_kind });
            }
        }
    }
    if is_rest_refused {
        let mut refused = refused.into_iter().flatten();
        for place in order.iter_mut().filter(|place| place.is_none()) {
            *place = refused.next().map(Place::sure);
        }
    }
}

/// Returns the places of answers that were all refused with one status, for a fault of the records; none where they were not.
fn refused_alike<'a>(answers: impl Iterator<Item = (usize, &'a Given)>) -> Option<Vec<usize>> {
    let mut statuses = HashSet::new();
    let mut places = Vec::new();
    for (at, answer) in answers {
        let (status, _) = answer
            .status
            .filter(|(status, _)| (400..500).contains(status))?;
        statuses.insert(status);
        places.push(at);
    }
    (statuses.len() == 1).then_some(places)
}

/// Returns which answer belongs to each entry, by what the answers name: an id that was in the URL. The id of a create
/// is not told by that.
fn by_name(answers: &[Given], asked: &[Asked<'_>]) -> Vec<Option<Place>> {
    let mut named: HashMap<(&str, &str), Option<usize>> = HashMap::new();
    for (at, answer) in answers.iter().enumerate() {
        for name in &answer.names {
            named
                .entry((&name.kind, &name.id))
                .and_modify(|found| *found = found.filter(|&found| found == at))
                .or_insert(Some(at));
        }
    }
    let mut times: HashMap<(&str, &str), u32> = HashMap::new();
    for key in asked.iter().filter_map(|one| Some((one.kind, one.own?))) {
        *times.entry(key).or_default() += 1;
    }
    asked
        .iter()
        .map(|one| {
            let key = (one.kind, one.own?);
            let is_once = times.get(&key) == Some(&1);
            let at = named.get(&key).copied().flatten().filter(|_| is_once);
            at.map(Place::sure)
        })
        .collect()
}

/// Two that were created are two: an id that is given to several entries is not believed of one that was created.
fn doubt_shared_ids(read: &mut [Option<Answer>], asked: &[Asked<'_>]) {
    let id = |answer: &Answer| match &answer.said {
        Said::Taken(accepted) if answer.status < 300 => accepted.id.clone(),
        _ => None,
    };
    let mut times: HashMap<(&str, String), u32> = HashMap::new();
    for (answer, one) in read.iter().zip(asked) {
        let given = answer.as_ref().and_then(id);
        if let Some(id) = given.or_else(|| one.own.map(str::to_owned)) {
            *times.entry((one.kind, id)).or_default() += 1;
        }
    }
    for (answer, one) in read.iter_mut().zip(asked) {
        let Some(found) = answer else { continue };
        let is_shared = id(found).is_some_and(|id| times.get(&(one.kind, id)) > Some(&1));
        if is_shared && one.verb == Verb::Create {
            found.said = Said::Little(Little::Unsaid);
        }
    }
}

/// One answer of a Bundle, as far as it can be read.
struct Given {
    /// The status, and whether it was written as one.
    status: Option<(u16, bool)>,
    /// The resource named by `location`, which only the server can have written.
    located: Option<Name>,
    names: Vec<Name>,
    /// The version of the resource in the answer stands with it.
    has_version: bool,
    etag: Option<String>,
    outcome: Option<String>,
    tone: Option<Tone>,
    /// The answer belongs to no entry: a remark on the whole.
    is_remark: bool,
}

impl Given {
    fn read(entry: &RawValue) -> Self {
        let entry: Entry<'_> = serde_json::from_str(entry.get()).unwrap_or_default();
        let has_response = entry.response.is_some();
        let response: Response<'_> = entry
            .response
            .and_then(|response| serde_json::from_str(response.get()).ok())
            .unwrap_or_default();
        let text = |value: &Option<serde_json::Value>| {
            let text = value.as_ref()?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let resource = entry
            .resource
            .and_then(|resource| Some((Body::read(resource.get().as_bytes())?, resource)));
        let is_outcome = |body: &Body<'_>| body.kind() == Some(OUTCOME);
        let said = resource.as_ref().filter(|(body, _)| is_outcome(body));
        let outcome = response.outcome.or(said.map(|(_, raw)| *raw));
        let location = text(&response.location).and_then(|text| Name::of_location(&text));
        let named = resource.as_ref().and_then(|(body, _)| body.name());
        let has_version = (resource.as_ref()).is_some_and(|(body, _)| body.has_version());
        Self {
            status: response.status.as_ref().and_then(status),
            names: location.clone().into_iter().chain(named).collect(),
            located: location,
            has_version,
            etag: text(&response.etag),
            tone: outcome.and_then(|outcome| outcome::tone(outcome.get().as_bytes())),
            outcome: outcome.map(|outcome| outcome.get().to_owned()),
            is_remark: !has_response && resource.as_ref().is_none_or(|(body, _)| is_outcome(body)),
        }
    }

    /// Tells whether it names something that an entry is not about.
    fn contradicts(&self, one: &Asked<'_>, all: &[Asked<'_>]) -> bool {
        self.names.iter().any(|name| {
            let is_known = || all.iter().any(|other| other.kind == name.kind);
            let is_other = name.is_of_another_type(one.kind) || name.kind != one.kind && is_known();
            is_other || name.kind == one.kind && !is_own(one, name)
        })
    }

    /// Judges it as the answer to an entry; none where it has no status, and names nothing that could stand for one.
    fn judge(&self, asked: &Asked<'_>) -> Option<Answer> {
        // Without a status a create is believed where the answer says what it made; a resource may be an echo.
        let (status, is_written) = if let Some(status) = self.status {
            status
        } else {
            let located = self.located.as_ref().filter(|name| is_own(asked, name));
            located.filter(|_| asked.verb == Verb::Create)?;
            (201, false)
        };
        let said = match status {
            200..=299 | 304 => self.said(asked, status, is_written),
            _ => Said::Little(Little::Unsaid),
        };
        Some(Answer {
            status,
            said,
            outcome: self.outcome.clone(),
        })
    }

    fn said(&self, asked: &Asked<'_>, status: u16, is_written: bool) -> Said {
        let is_tagged = self.etag.as_deref().and_then(of_etag).is_some();
        let is_marked = is_tagged || status == 201 && self.has_version;
        let is_echo = |name: &Name| {
            self.located.as_ref() != Some(name) && may_be_echo(asked, is_marked, name)
        };
        let names: Vec<Name> = (self.names.iter())
            .filter(|name| !is_echo(name))
            .cloned()
            .collect();
        let accepted = place(asked.kind, asked.own, &names, self.etag.as_deref());
        let is_named = names.iter().any(|name| is_own(asked, name));
        let is_sufficient =
            is_written || is_enough(asked, status, is_tagged) && asked.verb != Verb::Create;
        match (status, self.tone) {
            (202, _) => Said::Little(Little::Later),
            (304, _) if asked.verb != Verb::ConditionalCreate => Said::Little(Little::Unsaid),
            (201, _) if is_named => Said::Taken(accepted),
            // A name or a version says that something was written; what failed is not known then.
            (_, Some(Tone::Failed)) if is_named || is_tagged => Said::Little(Little::Unsaid),
            (_, Some(Tone::Failed)) => Said::Refused,
            _ if is_named => Said::Taken(accepted),
            (_, Some(Tone::Unclear)) => Said::Little(Little::Unsaid),
            _ if is_sufficient || asked.verb != Verb::Create => Said::Taken(accepted),
            _ => Said::Little(Little::Unsaid),
        }
    }
}

/// Reads a status: `201`, `201 Created`, `HTTP/1.1 201`, the number 201, `Created`, or `NoContent`. Also returned is whether it
/// was written as the standard has it, with the code first.
pub(super) fn status(value: &serde_json::Value) -> Option<(u16, bool)> {
    let is_status = |code: &u16| (100..1000).contains(code);
    let text = match value {
        serde_json::Value::Number(number) => {
            let code = number.to_string().parse().ok().filter(is_status)?;
            return Some((code, false));
        }
        serde_json::Value::String(text) => text.trim(),
        _ => return None,
    };
    let text = match text.split_once(' ') {
        Some((version, rest)) if version.starts_with("HTTP/") => rest.trim_start(),
        _ => text,
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match digits {
        0 => of_words(text),
        3 => {
            let code = text.get(..3)?.parse().ok().filter(is_status)?;
            Some((code, true))
        }
        _ => None,
    }
}

/// Returns the code that stands behind its words, however they are written: `Not Found`, `NotFound`, `not found`.
fn of_words(text: &str) -> Option<(u16, bool)> {
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphabetic);
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let wanted = letters(text);
    let mut codes = (200..600).filter_map(|code| http::StatusCode::from_u16(code).ok());
    let found = codes.find(|code| {
        code.canonical_reason()
            .is_some_and(|reason| letters(reason) == wanted)
    })?;
    Some((found.as_u16(), false))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    resource_type: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow, default)]
    entry: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Response<'a> {
    status: Option<serde_json::Value>,
    location: Option<serde_json::Value>,
    etag: Option<serde_json::Value>,
    #[serde(borrow)]
    outcome: Option<&'a RawValue>,
}
