//! Comments say plainly what something is: a noun is the subject, a number has a name.

use fs_err as fs;

use super::{root, sources};

/// Words that are no subject of a sentence: a plain noun says the same.
const SUBJECTS: [&str; 9] = [
    "What", "Who", "Whose", "Whom", "Where", "How", "Whether", "Which", "Why",
];

/// Turns of phrase that stand for a noun or for the name of a number, and those in which they are right.
const PHRASES: [(&str, &str); 5] = [
    ("so many", "so many that"),
    ("so long ", "so long as"),
    ("so much", "so much that"),
    ("what stands", "\0"),
    ("who waits", "\0"),
];

/// Comments that are texts for users: where they stand and how they begin.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The descriptions of the manifest's schema and of the report's, which editors and `docs/manifest.md` show.
    ("manifest/schema/", ""),
    ("report/document.rs", ""),
    ("hl7v2/wire.rs", "How segments end in what is sent."),
    (
        "manifest/load_settings.rs",
        "Which messages keep their order.",
    ),
    ("manifest/load_settings.rs", "What becomes of "),
    ("manifest/load_settings.rs", "How the fate of a create"),
    ("manifest/mod.rs", "How far a journal line goes"),
    // The help of the command line.
    ("cli/generate.rs", "Which names"),
    ("cli/init/mod.rs", "Where to write the manifest"),
    ("cli/mod.rs", "How log lines are written"),
    ("cli/report.rs", "How to print it"),
    ("cli/resuming.rs", "How to show progress"),
    ("cli/resuming.rs", "Which records to send"),
    ("cli/verify/mod.rs", "What the stores hold besides"),
    ("cli/watch.rs", "How progress is shown"),
];

/// A paragraph of a comment, in one line, and the line of the file on which it begins.
#[derive(Debug)]
struct Paragraph {
    line: usize,
    text: String,
}

/// Returns the paragraphs of the comments of a text.
fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut found: Vec<Paragraph> = Vec::new();
    let mut open: Option<&str> = None;
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim_start();
        let marks = ["///", "//!", "//"];
        let comment = marks.iter().find_map(|mark| {
            let rest = text.strip_prefix(mark)?;
            Some((*mark, rest.trim_start()))
        });
        let Some((mark, words)) = comment.filter(|(_, words)| !words.is_empty()) else {
            open = None;
            continue;
        };
        let is_item = words.starts_with("- ") || words.starts_with("# ");
        let words = words.trim_start_matches("- ");
        match found.last_mut().filter(|_| open == Some(mark) && !is_item) {
            Some(paragraph) => {
                paragraph.text.push(' ');
                paragraph.text.push_str(words);
            }
            None => found.push(Paragraph {
                line,
                text: words.to_owned(),
            }),
        }
        open = Some(mark);
    }
    found
}

/// Returns the beginnings of the sentences of a text.
fn sentences(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    for end in [". ", ": ", "! ", "? "] {
        starts.extend(text.match_indices(end).map(|(at, _)| at + end.len()));
    }
    starts.into_iter().map(|at| &text[at..]).collect()
}

/// Returns the first sentence of a paragraph that is not plain.
fn dialect(text: &str) -> Option<&str> {
    let begins = |sentence: &&str| {
        let first = sentence.split([' ', ',']).next();
        first.is_some_and(|first| SUBJECTS.contains(&first))
    };
    let small = text.to_lowercase();
    let is_vague = |(phrase, right): &(&str, &str)| {
        small.matches(phrase).count() > small.matches(right).count()
    };
    let odd = sentences(text).into_iter().find(begins);
    odd.or_else(|| PHRASES.iter().any(is_vague).then_some(text))
}

#[test]
fn comments_have_plain_subjects() {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut wrong, mut used) = (Vec::new(), Vec::new());
    for file in files {
        let inside = file.strip_prefix(&root).unwrap().display().to_string();
        for paragraph in paragraphs(&fs::read_to_string(&file).unwrap()) {
            let Some(sentence) = dialect(&paragraph.text) else {
                continue;
            };
            let excepted = EXCEPTIONS
                .iter()
                .find(|(place, begins)| inside.starts_with(place) && sentence.starts_with(begins));
            match excepted {
                Some(exception) => used.push(exception),
                None => wrong.push(format!("{inside}:{}: {sentence}", paragraph.line)),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a noun can be the subject, and a number has a name:\n{}",
        wrong.join("\n")
    );
    let idle = EXCEPTIONS
        .iter()
        .filter(|exception| !used.contains(exception));
    let idle: Vec<_> = idle.collect();
    assert!(idle.is_empty(), "exceptions for nothing: {idle:?}");
}

#[test]
fn what_is_not_plain_is_seen() {
    let text = "fn a() {} // no\n/// Reads a file. What it\n/// holds is kept.\n///\n/// - Who waits.\n// Plain.";
    let found = paragraphs(text);
    let texts: Vec<&str> = found.iter().map(|found| found.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "Reads a file. What it holds is kept.",
            "Who waits.",
            "Plain."
        ]
    );
    let odd: Vec<_> = texts.iter().map(|text| dialect(text)).collect();
    assert_eq!(
        odd,
        [Some("What it holds is kept."), Some("Who waits."), None]
    );
    assert!(dialect("It takes so many bytes.").is_some());
    assert!(dialect("There are so many that it counts them.").is_none());
}
