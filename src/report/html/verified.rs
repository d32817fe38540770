//! `verify.html`: what a store holds otherwise than the sources say. Values stand on it only where the verification was asked
//! for them: they are content (design §10).

use std::fmt::Write as _;

use super::{STYLE, escaped};
use crate::{
    send::verify::{Differing, KindComparison, TypeCount, Unlisted, Verification, Verified},
    unit::grouped,
};

/// The outcomes, in the order in which they are told.
const TOLD: [(Verification, &str); 4] = [
    (Verification::Changed, "Changed"),
    (Verification::Missing, "Missing"),
    (Verification::Extra, "Extra"),
    (Verification::Unknown, "Unknown"),
];

/// Renders what a verification of a run has found. `shows_values` tells whether it was asked for values.
pub fn render(verified: &Verified, run: &str, shows_values: bool) -> String {
    let mut page = String::new();
    let out = &mut page;
    let differ: u64 = TOLD.iter().map(|(outcome, _)| verified.of(*outcome)).sum();
    let (class, verdict, headline) = match differ {
        0 if verified.is_sample || verified.unlisted.is_empty() => {
            ("well", "verdict", "Nothing differs".to_owned())
        }
        0 => (
            "bad",
            "verdict ill",
            "Nothing is found to differ".to_owned(),
        ),
        1 => ("bad", "verdict ill", "1 record differs".to_owned()),
        count => (
            "bad",
            "verdict ill",
            format!("{} records differ", grouped(count)),
        ),
    };
    let read = if verified.is_sample {
        " in a sample"
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{headline}: {run}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <section class=\"{verdict}\">\n<h1 class=\"{class}\">{headline}</h1>\n\
         <p>{run} against its sources: {} records read{read}, {} the same.</p>\n</section>",
        grouped(verified.read),
        grouped(verified.of(Verification::Same)),
        run = escaped(run),
    );
    counts(out, verified);
    unlisted(out, &verified.unlisted);
    for (outcome, title) in TOLD {
        let found = verified.differing.iter().filter(|d| d.outcome == outcome);
        let found: Vec<&Differing> = found.collect();
        if found.is_empty() {
            continue;
        }
        let all = verified.of(outcome);
        let _ = writeln!(out, "<h2>{title}: {}</h2>", grouped(all));
        if (found.len() as u64) < all {
            let first = grouped(found.len() as u64);
            let _ = writeln!(out, "<p>The first {first} of them.</p>");
        }
        list(out, &found, shows_values);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    page
}

fn counts(out: &mut String, verified: &Verified) {
    let _ = writeln!(
        out,
        "<h2>Counts</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>Target</th><th>Type</th><th>Sources</th><th>Store</th>\
         <th>Same</th><th>Changed</th><th>Missing</th><th>Extra</th><th>Unknown</th></tr></thead>\n<tbody>"
    );
    for ((target, of), counts) in &verified.kinds {
        let KindComparison {
            expected,
            held,
            same,
            changed,
            missing,
            extra,
            unknown,
        } = counts;
        let held = held.map_or_else(|| "?".to_owned(), grouped);
        let kind = if of.is_empty() { "(all)" } else { of };
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{held}</td>",
            escaped(target),
            escaped(kind),
            grouped(*expected),
        );
        let is_listed = verified.is_listed(target, of);
        for (count, is_known) in [
            (same, true),
            (changed, true),
            (missing, true),
            (extra, is_listed),
            (unknown, true),
        ] {
            let count = if is_known || *count > 0 {
                grouped(*count)
            } else {
                "?".to_owned()
            };
            let _ = write!(out, "<td class=\"n\">{count}</td>");
        }
        out.push_str("</tr>\n");
        if of.is_empty() {
            types(out, verified, target);
        }
    }
    out.push_str("</tbody>\n</table></div>\n");
}

/// Writes the types of what a store lists all at once.
fn types(out: &mut String, verified: &Verified, target: &str) {
    let Some(of) = verified.types.get(target) else {
        return;
    };
    for (kind, TypeCount { expected, held }) in &of.types {
        let held = held.map_or_else(|| "?".to_owned(), grouped);
        let kind = if kind.is_empty() { "(no type)" } else { kind };
        let _ = writeln!(
            out,
            "<tr><td></td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{held}</td><td colspan=\"5\"></td></tr>",
            escaped(kind),
            grouped(*expected),
        );
    }
    if let Some(why) = &of.why_not {
        let _ = writeln!(
            out,
            "<tr><td></td><td colspan=\"8\">not counted by type: {}</td></tr>",
            escaped(why)
        );
    }
}

/// Says of which records nobody knows what is there besides.
fn unlisted(out: &mut String, unlisted: &[Unlisted]) {
    if unlisted.is_empty() {
        return;
    }
    out.push_str("<h2>Not listed</h2>\n<ul>\n");
    for Unlisted { target, kind, why } in unlisted {
        let kind = if kind.is_empty() { "(all)" } else { kind };
        let (target, kind) = (escaped(target), escaped(kind));
        let _ = writeln!(out, "<li>{target}, {kind}: {}</li>", escaped(why));
    }
    out.push_str("</ul>\n<p>Nobody knows what the stores hold of these besides.</p>\n");
}

/// Lists records with where they differ; `-` stands before what the source says, `+` before what the store holds.
fn list(out: &mut String, found: &[&Differing], shows_values: bool) {
    out.push_str("<dl>\n");
    for differing in found {
        let mut name = match (&*differing.kind, &differing.id) {
            ("", Some(id)) => id.clone(),
            (kind, Some(id)) => format!("{kind}/{id}"),
            (kind, None) => format!("{kind}, without an id"),
        };
        if let Some(place) = &differing.place {
            let _ = write!(name, " · {place}");
        }
        for said in [
            differing.status.map(|status| status.to_string()),
            differing.note.clone(),
        ] {
            if let Some(said) = said.filter(|_| differing.outcome == Verification::Unknown) {
                let _ = write!(name, " · {said}");
            }
        }
        let _ = writeln!(out, "<dt>{}</dt>", escaped(&name));
        for at in &differing.differences {
            let _ = write!(out, "<dd><code>{}</code>", escaped(&at.path));
            if shows_values {
                for (sign, word, value) in [("-", "del", &at.ours), ("+", "ins", &at.theirs)] {
                    if let Some(value) = value {
                        let value = escaped(value);
                        let _ = write!(out, "<br><{word}><code>{sign} {value}</code></{word}>");
                    }
                }
            }
            out.push_str("</dd>\n");
        }
    }
    out.push_str("</dl>\n");
}
