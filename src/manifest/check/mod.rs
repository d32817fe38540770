//! The rules across loads: names are unique, targets and predecessors exist, nothing waits for itself, and no Bundle
//! is larger than its target's rate allows.

mod formats;

use self::formats::formats;
use super::{
    LoadSettings, TargetSettings,
    document::{Spot, Value},
    load::Draft,
    parts::{Parts, already, over},
    reader::{Reader, Text, get, nearest},
};
use crate::diagnostic::Diagnostic;

/// Checks the loads against each other and against the targets, and gives each its target.
pub(super) fn loads(
    reader: &mut Reader<'_>,
    parts: &Parts,
    settings: &[TargetSettings],
    mut drafts: Vec<Draft>,
) -> Vec<LoadSettings> {
    names(reader, &drafts);
    standard_input(reader, &drafts);
    // A name that is missing here may stand in an included file that could not be read.
    if !parts.incomplete {
        targets(reader, parts, &mut drafts);
        predecessors(reader, &drafts);
    }
    cycles(reader, &drafts);
    same_store(reader, parts, settings);
    formats(reader, settings, &mut drafts);
    rates(reader, parts, settings, &drafts);
    drafts.into_iter().map(|draft| draft.settings).collect()
}

fn names(reader: &mut Reader<'_>, drafts: &[Draft]) {
    for (at, draft) in drafts.iter().enumerate() {
        let Some(name) = &draft.name else { continue };
        let first = drafts
            .iter()
            .take(at)
            .filter_map(|other| other.name.as_ref())
            .find(|other| other.value == name.value);
        if let Some(first) = first {
            let message = format!("two loads are named `{}`", name.written);
            let hint = already(reader, first.spot);
            reader.report(name.spot, Diagnostic::error(message).hint(hint));
        }
    }
}

fn standard_input(reader: &mut Reader<'_>, drafts: &[Draft]) {
    let patterns = drafts.iter().flat_map(|draft| &draft.settings.files);
    let mut places = patterns
        .filter(|pattern| pattern.pattern == "-")
        .map(|pattern| &pattern.place);
    let Some((file, line, column)) = places.next() else {
        return;
    };
    let first = format!("it is already read at {}:{line}:{column}", file.display());
    let again: Vec<_> = places.cloned().collect();
    for (file, line, column) in again {
        if let Some(spot) = reader.spot_at(&file, line, column) {
            let message = "standard input can be read only once";
            reader.report(spot, Diagnostic::error(message).hint(first.clone()));
        }
    }
}

fn targets(reader: &mut Reader<'_>, parts: &Parts, drafts: &mut [Draft]) {
    let names: Vec<&str> = parts
        .targets
        .iter()
        .map(|target| target.key.as_str())
        .collect();
    if names.is_empty() {
        if get(&parts.root, "targets").is_some() {
            return;
        }
        let top = Spot {
            file: 0,
            line: 1,
            column: 1,
            length: 1,
        };
        reader.report(
            top,
            Diagnostic::error("the manifest has no targets").hint(
                "add `targets:` with a store to load, such as `here: { local: .stoker/store }`",
            ),
        );
        return;
    }
    for draft in drafts {
        match (&draft.target, names.as_slice()) {
            (Some(target), names) => {
                if !names.contains(&target.value.as_str()) {
                    let message = format!("no target is named `{}`", target.written);
                    report_unknown(reader, target, message, names, "targets");
                }
                draft.settings.target.clone_from(&target.value);
            }
            (None, [only]) => (*only).clone_into(&mut draft.settings.target),
            (None, names) => {
                let message = match &draft.name {
                    Some(name) => format!("the load `{}` has no `target`", name.written),
                    None => "the load has no `target`".to_owned(),
                };
                let hint = format!("there are several: {}", list(names));
                reader.report(draft.spot, Diagnostic::error(message).hint(hint));
            }
        }
    }
}

/// Holds the Bundles that loads ask for against the rates of their targets (design §4).
fn rates(reader: &mut Reader<'_>, parts: &Parts, targets: &[TargetSettings], drafts: &[Draft]) {
    for draft in drafts {
        let name = &draft.settings.target;
        let target = targets.iter().find(|target| target.name == *name);
        let (Some(spot), Some(wanted), Some(target)) = (
            draft.max_entries,
            draft.settings.packaging.max_entries,
            target,
        ) else {
            continue;
        };
        let Some(most) = target.rate_entries().filter(|most| wanted.get() > *most) else {
            continue;
        };
        let message = format!(
            "`max_entries` is above a tenth of the rate of the target `{name}`: at most {most}"
        );
        let mut diagnostic = Diagnostic::error(message);
        if let Some(place) = rate_spot(parts, name) {
            diagnostic = diagnostic.hint(format!(
                "the rate is set at {}:{}:{}",
                reader.file(place).display(),
                place.line,
                place.column
            ));
        }
        reader.report(
            spot,
            diagnostic.hint(
                "make `max_entries` smaller or raise the rate; a Bundle costs as much as its entries",
            ),
        );
    }
}

/// Finds where the rate of a target is set: by itself, or by the defaults.
fn rate_spot(parts: &Parts, target: &str) -> Option<Spot> {
    let Value::Map(own) = get(&parts.targets, target).map(|node| &node.value)? else {
        return None;
    };
    get(&over(own, &parts.target_defaults), "rate").map(|node| node.spot)
}

/// Refuses two targets that want one store with different fields: which of them it got would be chance.
fn same_store(reader: &mut Reader<'_>, parts: &Parts, targets: &[TargetSettings]) {
    for (at, target) in targets.iter().enumerate() {
        let Some(wanted) = target.store.wanted() else {
            continue;
        };
        let place = target.store.place();
        let other = targets.iter().take(at).find(|other| {
            other.store.wanted().is_some_and(|fields| fields != wanted)
                && other.store.place() == place
        });
        let entry = parts.targets.iter().find(|entry| entry.key == target.name);
        if let (Some(other), Some(entry)) = (other, entry) {
            let message = format!(
                "the targets `{}` and `{}` are one store, and want it with different fields",
                other.name, target.name
            );
            let hint = "give both the same fields, or name the store by one target alone";
            reader.report(entry.key_spot, Diagnostic::error(message).hint(hint));
        }
    }
}

fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn report_unknown(
    reader: &mut Reader<'_>,
    text: &Text,
    message: String,
    names: &[&str],
    what: &str,
) {
    let hint = match nearest(&text.written, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the {what} are {}", list(names)),
    };
    reader.report(text.spot, Diagnostic::error(message).hint(hint));
}

fn predecessors(reader: &mut Reader<'_>, drafts: &[Draft]) {
    let named = || drafts.iter().filter_map(|draft| draft.name.as_ref());
    let shown: Vec<&str> = named().map(|name| name.written.as_str()).collect();
    for after in drafts.iter().flat_map(|draft| &draft.after) {
        if !named().any(|name| name.value == after.value) {
            let message = format!("no load is named `{}`", after.written);
            report_unknown(reader, after, message, &shown, "loads");
        }
    }
}

/// Reports each circle of loads that wait for each other, once.
fn cycles(reader: &mut Reader<'_>, drafts: &[Draft]) {
    let index = |name: &str| drafts.iter().position(|draft| draft.settings.name == name);
    let edges: Vec<Vec<(usize, &Text)>> = drafts
        .iter()
        .map(|draft| {
            let found = draft
                .after
                .iter()
                .filter_map(|after| Some((index(&after.value)?, after)));
            found.collect()
        })
        .collect();
    let mut state = vec![State::New; drafts.len()];
    for start in 0..drafts.len() {
        // An explicit stack: a manifest may chain more loads than the call stack holds.
        let mut path: Vec<(usize, usize)> = Vec::new();
        if state.get(start) == Some(&State::New) {
            path.push((start, 0));
        }
        while let Some((at, next)) = path.last_mut() {
            let at = *at;
            set(&mut state, at, State::Open);
            let Some((to, after)) = edges.get(at).and_then(|edges| edges.get(*next)).copied()
            else {
                set(&mut state, at, State::Done);
                path.pop();
                continue;
            };
            *next += 1;
            match state.get(to) {
                Some(State::New) => path.push((to, 0)),
                Some(State::Open) => {
                    let circle = path.iter().map(|(at, _)| *at).skip_while(|at| *at != to);
                    let shown: Vec<&str> = circle
                        .chain([to])
                        .filter_map(|at| Some(drafts.get(at)?.name.as_ref()?.written.as_str()))
                        .collect();
                    let message = if to == at {
                        format!("the load `{}` waits for itself", after.written)
                    } else {
                        format!("the loads wait for each other: {}", shown.join(" → "))
                    };
                    let hint = "remove one of the `after`";
                    reader.report(after.spot, Diagnostic::error(message).hint(hint));
                }
                _ => {}
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

fn set(states: &mut [State], at: usize, to: State) {
    if let Some(state) = states.get_mut(at) {
        *state = to;
    }
}
