//! QIDO-RS: the question in a query string, and whether a value answers it.
//!
//! The attributes that a store can be asked for, and the treatment of the others, are left to the store.

use super::element::Tag;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Attributes, with the value that each has to match.
    pub matches: Vec<(Tag, String)>,
    /// Attributes that are answered beyond those of the level.
    pub include: Vec<Tag>,
    /// True if every attribute is wanted.
    pub include_all: bool,
    /// The greatest number of answers.
    pub limit: Option<u64>,
    /// The number of answers that are passed over.
    pub offset: u64,
    /// True if names are compared by the beginnings of their words.
    pub is_fuzzy: bool,
}

/// The reason why a question cannot be answered. Values stand in none of these words: they may be patients' data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A key that is no attribute.
    #[error("unknown attribute {0:?}")]
    Attribute(String),
    /// A number that is none.
    #[error("{0} is no number")]
    Number(&'static str),
    /// A value that an attribute cannot have: its name, and what it holds.
    #[error("the value of {0} is no {1}, and no range of them")]
    Value(String, &'static str),
    /// Something other than `true` or `false`.
    #[error("fuzzymatching is true or false")]
    Fuzzy,
}

/// The attributes that are known by their keywords.
const KEYWORDS: &[(&str, Tag)] = &[
    ("SOPClassUID", Tag::SOP_CLASS),
    ("SOPInstanceUID", Tag::SOP_INSTANCE),
    ("StudyDate", Tag(0x0008, 0x0020)),
    ("StudyTime", Tag(0x0008, 0x0030)),
    ("AccessionNumber", Tag(0x0008, 0x0050)),
    ("Modality", Tag::MODALITY),
    ("ModalitiesInStudy", Tag(0x0008, 0x0061)),
    ("ReferringPhysicianName", Tag(0x0008, 0x0090)),
    ("StudyDescription", Tag(0x0008, 0x1030)),
    ("SeriesDescription", Tag(0x0008, 0x103E)),
    ("PatientName", Tag(0x0010, 0x0010)),
    ("PatientID", Tag(0x0010, 0x0020)),
    ("PatientBirthDate", Tag(0x0010, 0x0030)),
    ("PatientSex", Tag(0x0010, 0x0040)),
    ("StudyInstanceUID", Tag::STUDY),
    ("SeriesInstanceUID", Tag::SERIES),
    ("StudyID", Tag(0x0020, 0x0010)),
    ("SeriesNumber", Tag(0x0020, 0x0011)),
    ("InstanceNumber", Tag(0x0020, 0x0013)),
    ("NumberOfFrames", Tag(0x0028, 0x0008)),
    ("Rows", Tag(0x0028, 0x0010)),
    ("Columns", Tag(0x0028, 0x0011)),
];

/// Reads an attribute: eight hexadecimal digits, or a keyword.
fn attribute(name: &str) -> Result<Tag, Wrong> {
    if let Some((_, tag)) = KEYWORDS.iter().find(|(keyword, _)| *keyword == name) {
        return Ok(*tag);
    }
    let digits = name.len() == 8 && name.bytes().all(|sign| sign.is_ascii_hexdigit());
    let number = digits.then(|| u32::from_str_radix(name, 16).ok()).flatten();
    let tag = number.map(|number| {
        let [a, b, c, d] = number.to_be_bytes();
        Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    });
    tag.ok_or_else(|| Wrong::Attribute(name.to_owned()))
}

/// Reads a question from the pairs of a query string, already decoded.
pub fn read<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Query, Wrong> {
    let mut query = Query::default();
    for (key, value) in pairs {
        match key {
            "limit" => query.limit = Some(value.parse().map_err(|_| Wrong::Number("limit"))?),
            "offset" => query.offset = value.parse().map_err(|_| Wrong::Number("offset"))?,
            "fuzzymatching" => {
                query.is_fuzzy = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(Wrong::Fuzzy),
                }
            }
            "includefield" => {
                for name in value.split(',').map(str::trim) {
                    if name == "all" {
                        query.include_all = true;
                    } else {
                        query.include.push(attribute(name)?);
                    }
                }
            }
            _ => {
                let tag = attribute(key)?;
                let value = value.trim();
                if !is_any(value)
                    && let Kind::Range(what, is_one) = kind(tag)
                    && !is_range(value, is_one)
                {
                    return Err(Wrong::Value(key.to_owned(), what));
                }
                query.matches.push((tag, value.to_owned()));
            }
        }
    }
    Ok(query)
}

/// Returns the way in which values of an attribute are compared.
fn kind(tag: Tag) -> Kind {
    match tag {
        Tag(0x0008, 0x0020) | Tag(0x0010, 0x0030) => Kind::Range("date", is_date),
        Tag(0x0008, 0x0030) => Kind::Range("time", is_time),
        Tag(0x0010, 0x0010) | Tag(0x0008, 0x0090) => Kind::Name,
        Tag::SOP_CLASS | Tag::SOP_INSTANCE | Tag::STUDY | Tag::SERIES => Kind::Uid,
        _ => Kind::Text,
    }
}

enum Kind {
    /// A date or a time: the word for it, and whether a value is one.
    Range(&'static str, fn(&str) -> bool),
    Name,
    Uid,
    Text,
}

/// Tells whether any value is wanted.
fn is_any(wanted: &str) -> bool {
    wanted.is_empty() || wanted == "*"
}

/// Tells whether a value is one, or a range of which one end may be open (PS3.4 §C.2.2.2.5).
fn is_range(value: &str, is_one: fn(&str) -> bool) -> bool {
    match value.split_once('-') {
        Some(("", "")) => false,
        Some((from, to)) => [from, to]
            .into_iter()
            .all(|end| end.is_empty() || is_one(end)),
        None => is_one(value),
    }
}

/// Reads digits in pairs; `None` where others stand among them, or a single one is left.
fn pairs(digits: &str) -> Option<Vec<u8>> {
    let bytes = digits.as_bytes();
    let is_whole = bytes.len().is_multiple_of(2) && bytes.iter().all(u8::is_ascii_digit);
    let pair = |pair: &[u8]| pair.iter().fold(0, |sum, digit| sum * 10 + (digit - b'0'));
    is_whole.then(|| bytes.chunks(2).map(pair).collect())
}

/// Tells whether a value is a date: `YYYYMMDD`.
fn is_date(value: &str) -> bool {
    matches!(pairs(value).as_deref(), Some([_, _, 1..=12, 1..=31]))
}

/// Tells whether a value is a time: `HHMMSS.FFFFFF`, which may be left out from the right.
fn is_time(value: &str) -> bool {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_fraction =
        (1..=6).contains(&fraction.len()) && fraction.bytes().all(|digit| digit.is_ascii_digit());
    let is_whole = match pairs(whole).as_deref() {
        Some([0..=23] | [0..=23, 0..=59]) => whole.len() == value.len(),
        Some([0..=23, 0..=59, 0..=60]) => true,
        _ => false,
    };
    is_whole && is_fraction
}

/// Tells whether a value of an attribute is what is asked for. An empty wish, or `*`, is met by any value.
pub fn answers(tag: Tag, wanted: &str, value: &str, is_fuzzy: bool) -> bool {
    let wanted = wanted.trim();
    if is_any(wanted) {
        return true;
    }
    match kind(tag) {
        Kind::Uid => wanted.split([',', '\\']).any(|uid| uid.trim() == value),
        Kind::Range(..) => match wanted.split_once('-') {
            // Dates and times are compared as texts: their digits stand from the largest to the smallest.
            Some((from, to)) => {
                let beginning = value.get(..to.len()).unwrap_or(value);
                !value.is_empty() && value >= from && (to.is_empty() || beginning <= to)
            }
            None => wanted == value,
        },
        Kind::Name if is_fuzzy => {
            let words = |text: &str| -> Vec<String> {
                let words = text.split(['^', '=', ' ', ',']);
                let words = words.filter(|word| !word.is_empty());
                words.map(str::to_lowercase).collect()
            };
            let there = words(value);
            let begins = |word: &String| there.iter().any(|name| name.starts_with(word.as_str()));
            words(wanted).iter().all(begins)
        }
        Kind::Name => is_like(&wanted.to_lowercase(), &value.to_lowercase()),
        Kind::Text => is_like(wanted, value),
    }
}

/// Compares with `*` for any signs and `?` for one, in time that grows with the product of the lengths only.
fn is_like(pattern: &str, value: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let value: Vec<char> = value.chars().collect();
    let (mut at, mut seen) = (0, 0);
    // The place of the last star, and the place in the value behind the signs that it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(sign) = value.get(seen) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == sign => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((place, taken)) = star else {
                    return false;
                };
                star = Some((place, taken + 1));
                at = place + 1;
                seen = taken + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|sign| *sign == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: Tag = Tag(0x0010, 0x0010);
    const DATE: Tag = Tag(0x0008, 0x0020);

    #[test]
    fn a_question_is_read_by_keyword_and_by_number() {
        let query = read([
            ("PatientName", "Mu*"),
            ("0020000d", "1.2"),
            ("includefield", "all"),
            ("includefield", "StudyDescription,00200011"),
            ("limit", "5"),
            ("offset", "10"),
            ("fuzzymatching", "true"),
        ]);
        let query = query.unwrap();
        assert_eq!(
            query.matches,
            [(NAME, "Mu*".to_owned()), (Tag::STUDY, "1.2".to_owned())]
        );
        assert_eq!(query.include, [Tag(0x0008, 0x1030), Tag(0x0020, 0x0011)]);
        assert_eq!((query.limit, query.offset), (Some(5), 10));
        assert!(query.include_all && query.is_fuzzy);
        assert_eq!(read([("limit", "-1")]), Err(Wrong::Number("limit")));
        assert_eq!(read([("fuzzymatching", "1")]), Err(Wrong::Fuzzy));
        let unknown = Wrong::Attribute("PatientNam".to_owned());
        assert_eq!(read([("PatientNam", "x")]), Err(unknown));
    }

    #[test]
    fn a_date_or_time_that_is_none_is_not_asked_for() {
        for (key, value, is_good) in [
            ("StudyDate", "20240229", true),
            ("00080020", "20240101-", true),
            ("StudyDate", "-20240101", true),
            ("StudyDate", "20240101-20241231", true),
            ("StudyDate", "", true),
            ("StudyDate", "*", true),
            ("StudyDate", "x", false),
            ("StudyDate", "2024", false),
            ("StudyDate", "20241301", false),
            ("StudyDate", "2024-01-01", false),
            ("PatientBirthDate", "-", false),
            ("StudyTime", "08", true),
            ("StudyTime", "0815-081530.5", true),
            ("StudyTime", "0815.5", false),
            ("StudyTime", "081", false),
            ("StudyTime", "2400", false),
            ("PatientName", "x", true),
        ] {
            let wrong = match read([(key, value)]) {
                Ok(_) => None,
                Err(wrong) => Some(wrong.to_string()),
            };
            assert_eq!(wrong.is_none(), is_good, "{key} {value}: {wrong:?}");
            assert!(wrong.is_none_or(|wrong| !wrong.contains(value) && wrong.contains(key)));
        }
    }

    #[test]
    fn values_answer_by_their_kind() {
        for (tag, wanted, value, is_fuzzy, expected) in [
            (NAME, "Muñoz*", "muñoz íñiguez^José", false, true),
            (NAME, "José", "Muñoz Íñiguez^José", false, false),
            (NAME, "jos muñ", "Muñoz Íñiguez^José", true, true),
            (NAME, "osé", "Muñoz Íñiguez^José", true, false),
            (DATE, "20250101-20250131", "20250131", false, true),
            (DATE, "20250101-20250131", "20250201", false, false),
            (DATE, "20250101-", "20260101", false, true),
            (DATE, "-20250101", "20240101", false, true),
            (DATE, "-20250101", "", false, false),
            (DATE, "20250101", "20250101", false, true),
            (Tag::STUDY, "1.2,1.3", "1.3", false, true),
            (Tag::STUDY, "1.2\\1.3", "1.2", false, true),
            (Tag::STUDY, "1.*", "1.3", false, false),
            (Tag::MODALITY, "D?", "DX", false, true),
            (Tag::MODALITY, "D?", "D", false, false),
            (Tag::MODALITY, "dx", "DX", false, false),
            (Tag::MODALITY, "", "DX", false, true),
        ] {
            let found = answers(tag, wanted, value, is_fuzzy);
            assert_eq!(found, expected, "{wanted:?} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn stars_are_regular(pattern in "[ab*?]{0,8}", value in "[ab]{0,8}") {
            fn slow(pattern: &[u8], value: &[u8]) -> bool {
                match (pattern.split_first(), value.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), None) => slow(rest, value),
                    (Some((b'*', rest)), Some((_, behind))) => slow(rest, value) || slow(pattern, behind),
                    (Some((sign, rest)), Some((other, behind))) => {
                        (*sign == b'?' || sign == other) && slow(rest, behind)
                    }
                    _ => false,
                }
            }
            prop_assert_eq!(is_like(&pattern, &value), slow(pattern.as_bytes(), value.as_bytes()));
        }

        #[test]
        fn no_value_panics(tag in 0..4_usize, wanted in ".{0,20}", value in ".{0,20}", fuzzy: bool) {
            let tag = [NAME, DATE, Tag::STUDY, Tag::MODALITY][tag];
            let _ = answers(tag, &wanted, &value, fuzzy);
        }
    }
}
