//! Problems that a survey finds beside the records: patterns that match nothing, and rates that let a load not through.

use crate::{
    diagnostic::{Diagnostic, TextPosition},
    manifest::FilePattern,
    plan::{PlanHeader, Summary},
    source,
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
