//! Problems that a survey finds beside the records: patterns that match nothing, and rates that let a load not through.

use crate::{
    diagnostic::{Diagnostic, TextPosition},
    manifest::{FilePattern, Format, LoadSettings, MessageOrder},
    plan::{PlanHeader, Summary},
    source::{self, SourceFile},
};

/// Returns the problems of a load's patterns, as far as they are known before any file is read.
pub fn pattern_problems(patterns: &[FilePattern]) -> Vec<Diagnostic> {
    let found = source::find(patterns);
    let mut problems = found.problems;
    problems.extend(found.unmatched.iter().map(nothing_matches));
    problems
}

pub(super) fn nothing_matches(pattern: &FilePattern) -> Diagnostic {
    let (file, line, column) = pattern.place.clone();
    let length = pattern.pattern.chars().count();
    let text = &pattern.pattern;
    let hint = if text.contains("://") {
        "only files of this machine are read: copy the objects into a folder first".to_owned()
    } else if text.contains("!/") {
        "the files in an archive are not read: unpack it first".to_owned()
    } else if text.starts_with('/') {
        "no file of that name can be seen from here; a folder's rights may hide it".to_owned()
    } else {
        format!("the pattern is relative to `{}`", pattern.folder.display())
    };
    Diagnostic::error(format!("no file matches `{}`", pattern.pattern))
        .at(TextPosition {
            file,
            line,
            column,
            length,
        })
        .hint(hint)
}

/// Warns where files with numbers in their names come in another order than their numbers, in a load that keeps an order.
pub(super) fn out_of_order(load: &LoadSettings, files: &[SourceFile]) -> Option<Diagnostic> {
    if load.format != Format::Hl7v2 || load.messages.order == MessageOrder::None {
        return None;
    }
    let names: Vec<String> = files.iter().map(|file| file.origin.to_string()).collect();
    let (first, second) = names
        .iter()
        .zip(names.iter().skip(1))
        .find(|(one, next)| numbers_fall(one, next))?;
    let what = format!(
        "load `{}`: {first} is taken before {second}, for files are taken in the order of their names, sign by sign",
        load.name
    );
    Some(Diagnostic::warning(what).hint(
        "where their numbers say the order of the messages, write them with zeros in front, `02`, or name the files in their order",
    ))
}

/// Tells whether two names are alike but for their numbers, and the first number in which they differ is smaller in the second.
fn numbers_fall(one: &str, next: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit();
    let alike = one.split(is_digit).filter(|part| !part.is_empty());
    if !alike.eq(next.split(is_digit).filter(|part| !part.is_empty())) {
        return false;
    }
    let numbers = |name: &str| -> Vec<String> {
        let runs = name.split(|c| !is_digit(c)).filter(|run| !run.is_empty());
        runs.map(|run| run.trim_start_matches('0').to_owned())
            .collect()
    };
    let (one, next) = (numbers(one), numbers(next));
    let differs = one.iter().zip(&next).find(|(one, next)| one != next);
    one.len() == next.len()
        && differs.is_some_and(|(one, next)| (one.len(), one) > (next.len(), next))
}

/// A Bundle costs its entries, so under a rate it must be smaller than what the rate allows in its window.
pub(super) fn check_rates(header: &PlanHeader, summary: &Summary) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (load, totals) in header.loads.iter().zip(&summary.loads) {
        let target = header
            .targets
            .iter()
            .find(|target| target.settings.name == load.target);
        let Some(rate) = target.and_then(|target| target.settings.rate) else {
            continue;
        };
        if rate.amount.get() == 1 && totals.records > 0 {
            let what = format!(
                "the rate of target `{}` ({rate}) lets nothing through: no window holds a request and the room for the next",
                load.target
            );
            problems
                .push(Diagnostic::error(what).hint("write a rate of 2 or more, such as `60/min`"));
        } else if totals.largest_group >= rate.amount.get() {
            problems.push(
                Diagnostic::error(format!(
                    "load `{}` holds a transaction of {} entries, and the rate of target `{}` ({rate}) can never let it through: a Bundle costs its entries",
                    load.name, totals.largest_group, load.target
                ))
                .hint("write the rate per minute, such as `30000/min`, or raise it"),
            );
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::numbers_fall;

    #[test]
    fn numbers_are_compared_as_numbers_where_names_are_alike() {
        for (one, next) in [
            ("in/m12.hl7", "in/m2.hl7"),
            ("a/2026-10-1", "a/2026-2-1"),
            ("p10/1", "p2/1"),
        ] {
            assert!(numbers_fall(one, next) && !numbers_fall(next, one), "{one}");
        }
        for (one, next) in [
            ("m02.hl7", "m10.hl7"),
            ("m2.hl7", "m002.hl7"),
            ("3f9a.hl7", "4b1.hl7"),
            ("adt10.hl7", "oru2.hl7"),
            ("a", "b"),
        ] {
            assert!(!numbers_fall(one, next), "{one}");
        }
    }
}
