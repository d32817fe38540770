//! The references of a plan as people read them.

use super::{line, plural};
use crate::plan::References;

/// The number of dangling references that people are shown; `--json` has more.
const DANGLING: usize = 10;

/// Writes what the references at a target come to.
pub(super) fn references(out: &mut String, target: &str, found: &References) {
    leads(out, target, found);
    dangling(out, found);
    consequences(out, found);
    line(
        out,
        format_args!(
            "  longest chain {}{}",
            plural(found.longest_chain.into(), "record"),
            match found.cycles {
                0 => String::new(),
                cycles => format!(
                    ", {} of {}",
                    plural(cycles, "cycle"),
                    plural(found.cycle_records, "record")
                ),
            }
        ),
    );
    if found.identical + found.differing > 0 {
        line(
            out,
            format_args!(
                "  duplicates    {} identical, {} differing",
                found.identical, found.differing
            ),
        );
    }
    out.push('\n');
}

/// Counts what references lead to.
fn leads(out: &mut String, target: &str, found: &References) {
    let fates = match found.other_links {
        0 => String::new(),
        links => format!(
            ", and {} of attachments and narratives",
            plural(links, "link")
        ),
    };
    line(
        out,
        format_args!("references at {target}: {}{fates}", found.total),
    );
    let lines = [
        (found.links, "to records of this plan"),
        (found.known, "to records of earlier runs"),
        (
            found.within,
            "within their own record: to what it contains, or to itself",
        ),
        (
            found.looked_up,
            "conditional, to nothing in this plan: the store is asked for it when their records are sent",
        ),
        (
            found.ambiguous,
            "conditional, and several records of the plan answer to them",
        ),
        (found.dangling, "dangling: to nothing that is known here"),
        (
            found.unsent,
            "of records that are not sent (duplicate or unsupported)",
        ),
    ];
    for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
        line(out, format_args!("  {count:>9}  {what}"));
    }
}

/// Names some of the references that lead to nothing.
fn dangling(out: &mut String, found: &References) {
    for dangling in found.samples.iter().take(DANGLING) {
        let refused = if dangling.refused {
            "; refused unless it is there already"
        } else {
            ""
        };
        line(
            out,
            format_args!(
                "             {} from {} at {}{refused}",
                dangling.to, dangling.from, dangling.path
            ),
        );
    }
    let more = (found.dangling + found.looked_up).saturating_sub(DANGLING as u64);
    if more > 0 {
        line(
            out,
            format_args!(
                "             and {more} more (up to {} with --json)",
                References::SAMPLES
            ),
        );
    }
}

/// Says what becomes of versions, and of records whose references the target refuses.
fn consequences(out: &mut String, found: &References) {
    if found.versioned > 0 {
        line(
            out,
            format_args!(
                "  {:>9}  name a version, which the store assigns anew (`versioned`)",
                found.versioned
            ),
        );
    }
    if found.refused > 0 {
        line(
            out,
            format_args!(
                "  {:>9}  of the dangling the target refuses, unless it holds the resource already",
                found.refused
            ),
        );
    }
    if found.at_risk > 0 {
        line(
            out,
            format_args!(
                "  {:>9}  records at the most are refused or blocked for it",
                found.at_risk
            ),
        );
    }
}
