//! Messages as a store's parser reads them: the fields by which they are found, and `parsedData`.
//!
//! The parser is as strict as the API's: segments end with the store's `segmentTerminator` and nothing else. In a message
//! with other line ends it finds MSH only, and refuses it when the text behind MSH-18 runs into that field.

use base64::Engine as _;
use jiff::tz::TimeZone;

use crate::emulator::google::invalid;
use crate::emulator::json::{Json, Object};
use crate::emulator::reply::Refusal;
use crate::hl7v2::charset::is_plain;
use crate::hl7v2::separators::{Separators, split};
use crate::hl7v2::time::Time;

/// The API's text for any other character set.
const ENCODING: &str = "unsupported encoding in message, only ASCII and UTF-8 are supported";

/// The version of the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::emulator) enum Version {
    /// MSH-1 is left out, so that the fields of MSH are numbered one too low.
    #[default]
    V1,
    /// All fields that are not empty, by their own numbers.
    V2,
    /// As V2, with escapes undone.
    V3,
}

/// `parserConfig`
#[derive(Debug, Clone)]
pub(in crate::emulator) struct Parser {
    pub(in crate::emulator) version: Version,
    terminator: Vec<u8>,
    allow_null_header: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            version: Version::V1,
            terminator: b"\r".to_vec(),
            allow_null_header: false,
        }
    }
}

/// A message's own statements: its type, sender, time and patients.
#[derive(Debug, Clone, Default)]
pub(in crate::emulator) struct Content {
    /// MSH-9.1
    pub(in crate::emulator) kind: String,
    /// MSH-4
    pub(in crate::emulator) facility: String,
    /// MSH-7, in microseconds.
    pub(in crate::emulator) sent: Option<i64>,
    /// The JSON list of patients' ids.
    pub(in crate::emulator) patients: String,
}

/// Reads base64 of any alphabet, padded or not, as protobuf's JSON does.
pub(in crate::emulator) fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::alphabet::{STANDARD, URL_SAFE};
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let alphabet = if text.contains(['-', '_']) {
        URL_SAFE
    } else {
        STANDARD
    };
    let either =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet, either).decode(text).ok()
}

impl Parser {
    /// Reads it from the fields of an `Hl7V2Store`.
    pub(in crate::emulator) fn of(fields: &Object) -> Result<Self, Refusal> {
        let config = fields.get("parserConfig").and_then(Json::as_object);
        let text = |name: &str| config.and_then(|config| config.get(name)?.as_text());
        let terminator = match text("segmentTerminator") {
            None => b"\r".to_vec(),
            Some(text) => decode(text)
                .filter(|bytes| !bytes.is_empty())
                .ok_or_else(|| {
                    Refusal::payload(
                        "Invalid value at 'parserConfig.segmentTerminator' (TYPE_BYTES), Base64 decoding failed.",
                    )
                })?,
        };
        Ok(Self {
            version: match text("version") {
                Some("V2") => Version::V2,
                Some("V3") => Version::V3,
                _ => Version::V1,
            },
            terminator,
            allow_null_header: config
                .is_some_and(|config| config.get("allowNullHeader") == Some(&Json::Bool(true))),
        })
    }

    /// Splits a message into segments.
    pub(in crate::emulator) fn segments<'a>(
        &'a self,
        data: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = Some(data);
        let parts = std::iter::from_fn(move || {
            let text = rest?;
            let end = memchr::memmem::find(text, &self.terminator);
            rest = end.map(|end| text.get(end + self.terminator.len()..).unwrap_or_default());
            text.get(..end.unwrap_or(text.len()))
        });
        parts.filter(|segment| !segment.is_empty())
    }

    /// Reads what a message says of itself.
    pub(in crate::emulator) fn read(
        &self,
        data: &[u8],
        zone: &TimeZone,
    ) -> Result<Content, Refusal> {
        let mut segments = self.segments(data);
        let header = segments.next().filter(|first| first.starts_with(b"MSH"));
        let Some(header) = header else {
            if self.allow_null_header && std::str::from_utf8(data).is_ok() {
                let patients = Json::List(Vec::new()).to_string();
                return Ok(Content {
                    patients,
                    ..Content::default()
                });
            }
            return Err(invalid("invalid message: the first segment is not MSH"));
        };
        let separators = Separators::of(header)
            .ok_or_else(|| invalid("invalid message: MSH has no field separator"))?;
        let fields: Vec<&[u8]> = header.split(|byte| *byte == separators.field).collect();
        // MSH-1 is the separator itself.
        let field = |number: usize| fields.get(number - 1).copied().unwrap_or_default();
        let charset = split(field(18), separators.repetition)
            .next()
            .unwrap_or_default();
        if !is_plain(charset) || std::str::from_utf8(data).is_err() {
            return Err(invalid(ENCODING));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let sent = Time::parse(separators.first(field(7)));
        let sent = sent.and_then(|time| time.instant(zone));
        Ok(Content {
            kind: text(separators.first(field(9))),
            facility: text(separators.first(field(4))),
            sent: sent.map(jiff::Timestamp::as_microsecond),
            patients: Json::List(self.patients(data, &separators)).to_string(),
        })
    }

    /// Lists the ids in PID-2, PID-3 and PID-4: the first component, and the fifth as its type.
    fn patients(&self, data: &[u8], separators: &Separators) -> Vec<Json> {
        let mut found = Vec::new();
        for segment in self.segments(data) {
            let mut fields = segment.split(|byte| *byte == separators.field);
            if fields.next() != Some(b"PID") {
                continue;
            }
            let ids = fields.skip(1).take(3);
            for id in ids.flat_map(|field| split(field, separators.repetition)) {
                let components: Vec<&[u8]> = split(id, separators.component).collect();
                let nth = |at: usize| {
                    let component = components.get(at).copied().unwrap_or_default();
                    String::from_utf8_lossy(component).into_owned()
                };
                if nth(0).is_empty() {
                    continue;
                }
                let mut id = Object::from([("value".to_owned(), Json::Text(nth(0)))]);
                if !nth(4).is_empty() {
                    id.insert("type".to_owned(), Json::Text(nth(4)));
                }
                found.push(Json::Object(id));
            }
        }
        found
    }

    /// Returns `parsedData`.
    pub(in crate::emulator) fn parsed(&self, data: &[u8]) -> Json {
        let separators = self
            .segments(data)
            .next()
            .filter(|first| first.starts_with(b"MSH"))
            .and_then(Separators::of)
            .or_else(|| Separators::of(b"MSH|^~\\&|"));
        let Some(separators) = separators else {
            return Json::object([("segments", Json::List(Vec::new()))]);
        };
        let segments = self
            .segments(data)
            .map(|segment| self.segment(segment, &separators));
        Json::object([("segments", Json::List(segments.collect()))])
    }

    fn segment(&self, segment: &[u8], separators: &Separators) -> Json {
        let mut parts = segment.split(|byte| *byte == separators.field);
        let id = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let mut fields = Object::from([("0".to_owned(), Json::text(id.as_str()))]);
        let is_header = matches!(id.as_str(), "MSH" | "BHS" | "FHS");
        let mut first = 1;
        if is_header && self.version != Version::V1 {
            let separator = char::from(separators.field).to_string();
            fields.insert("1".to_owned(), Json::Text(separator));
            first = 2;
        }
        let mut set_id = String::new();
        for (at, field) in parts.enumerate() {
            let number = first + at;
            if is_header && at == 0 {
                let encoding = String::from_utf8_lossy(field).into_owned();
                if !encoding.is_empty() {
                    fields.insert(number.to_string(), Json::Text(encoding));
                }
                continue;
            }
            if number == 1 && has_set_id(&id) {
                set_id = String::from_utf8_lossy(field).into_owned();
            }
            self.field(&number.to_string(), field, separators, &mut fields);
        }
        let mut made = Object::from([
            ("fields".to_owned(), Json::Object(fields)),
            ("segmentId".to_owned(), Json::Text(id)),
        ]);
        if !set_id.is_empty() {
            made.insert("setId".to_owned(), Json::Text(set_id));
        }
        Json::Object(made)
    }

    /// A field is keyed `N`, and `N[i]` where it repeats; with components `N.C`; with components of these `N.C.S`.
    fn field(&self, number: &str, field: &[u8], separators: &Separators, out: &mut Object) {
        let repetitions: Vec<&[u8]> = split(field, separators.repetition).collect();
        for (at, repetition) in repetitions.iter().enumerate() {
            let key = if repetitions.len() > 1 {
                format!("{number}[{at}]")
            } else {
                number.to_owned()
            };
            let components: Vec<&[u8]> = split(repetition, separators.component).collect();
            for (at, component) in components.iter().enumerate() {
                let parts: Vec<&[u8]> = split(component, separators.subcomponent).collect();
                let key = if components.len() > 1 || parts.len() > 1 {
                    format!("{key}.{}", at + 1)
                } else {
                    key.clone()
                };
                for (at, part) in parts.iter().enumerate() {
                    if part.is_empty() {
                        continue;
                    }
                    let key = if parts.len() > 1 {
                        format!("{key}.{}", at + 1)
                    } else {
                        key.clone()
                    };
                    out.insert(key, Json::Text(self.value(part, separators)));
                }
            }
        }
    }

    fn value(&self, part: &[u8], separators: &Separators) -> String {
        if self.version == Version::V3 {
            return unescaped(part, separators);
        }
        String::from_utf8_lossy(part).into_owned()
    }
}

/// Tells whether the first field of such segments numbers them.
fn has_set_id(segment: &str) -> bool {
    matches!(
        segment,
        "PID"
            | "NK1"
            | "PV1"
            | "AL1"
            | "DG1"
            | "PR1"
            | "GT1"
            | "IN1"
            | "OBR"
            | "OBX"
            | "NTE"
            | "FT1"
            | "SPM"
            | "IAM"
            | "ACC"
            | "AIS"
            | "AIG"
            | "AIL"
            | "AIP"
            | "RGS"
            | "TXA"
            | "DB1"
            | "UB1"
    )
}

/// Undoes the escapes that stand for characters; others stay as they are.
fn unescaped(text: &[u8], separators: &Separators) -> String {
    let Some(escape) = separators.escape else {
        return String::from_utf8_lossy(text).into_owned();
    };
    let mut made = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(escape, rest) {
        let (before, behind) = rest.split_at(at);
        made.extend_from_slice(before);
        let inside = behind.get(1..).unwrap_or_default();
        let end = memchr::memchr(escape, inside);
        let name = end.and_then(|end| inside.get(..end));
        let Some(meant) = name.and_then(|name| meaning(name, separators)) else {
            // Not an escape that is known: the first character stays, and the next may begin another.
            made.push(escape);
            rest = inside;
            continue;
        };
        made.extend_from_slice(&meant);
        rest = inside
            .get(name.map_or(0, <[u8]>::len) + 1..)
            .unwrap_or_default();
    }
    made.extend_from_slice(rest);
    String::from_utf8_lossy(&made).into_owned()
}

fn meaning(name: &[u8], separators: &Separators) -> Option<Vec<u8>> {
    let one = |byte: Option<u8>| byte.map(|byte| vec![byte]);
    match name {
        b"F" => one(Some(separators.field)),
        b"S" => one(separators.component),
        b"R" => one(separators.repetition),
        b"E" => one(separators.escape),
        b"T" => one(separators.subcomponent),
        b"P" => one(separators.truncation),
        b".br" => one(Some(b'\n')),
        [b'X', digits @ ..] if !digits.is_empty() && digits.len() % 2 == 0 => digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &[u8] = b"MSH|^~\\&|A|SEND_FACILITY|A|A|20180101000000||TYPE^A|20180101000000|T|0.0|||AA||00|ASCII\rEVN|A00|20180101040000\rPID||14\x01111^^^^MRN|11111111^^^^MRN~1111111111^^^^ORGNMBR";

    fn parser(version: Version) -> Parser {
        Parser {
            version,
            ..Parser::default()
        }
    }

    fn parsed(version: Version, data: &[u8]) -> serde_json::Value {
        serde_json::from_str(&parser(version).parsed(data).to_string()).unwrap()
    }

    /// Google's published answer for its published sample.
    #[test]
    fn the_default_parser_answers_as_published() {
        let expected = serde_json::json!({"segments": [
            {"segmentId": "MSH", "fields": {"0": "MSH", "1": "^~\\&", "2": "A", "3": "SEND_FACILITY", "4": "A", "5": "A",
                "6": "20180101000000", "8.1": "TYPE", "8.2": "A", "9": "20180101000000", "10": "T", "11": "0.0", "14": "AA",
                "16": "00", "17": "ASCII"}},
            {"segmentId": "EVN", "fields": {"0": "EVN", "1": "A00", "2": "20180101040000"}},
            {"segmentId": "PID", "fields": {"0": "PID", "2.1": "14\u{1}111", "2.5": "MRN", "3[0].1": "11111111",
                "3[0].5": "MRN", "3[1].1": "1111111111", "3[1].5": "ORGNMBR"}}
        ]});
        assert_eq!(parsed(Version::V1, SAMPLE), expected);
        let content = parser(Version::V1).read(SAMPLE, &TimeZone::UTC).unwrap();
        assert_eq!(
            (content.kind.as_str(), content.facility.as_str()),
            ("TYPE", "SEND_FACILITY")
        );
        assert_eq!(content.sent, Some(1_514_764_800_000_000));
        assert_eq!(
            content.patients,
            r#"[{"type":"MRN","value":"14\u0001111"},{"type":"MRN","value":"11111111"},{"type":"ORGNMBR","value":"1111111111"}]"#
        );
    }

    #[test]
    fn later_versions_number_msh_as_the_standard_does_and_undo_escapes() {
        let data = b"MSH|^~\\&|A\rOBX|1|TX|x&y^z||5 \\T\\ 6 \\X41C3A9\\ \\H\\bold \\ \\Q\\";
        let second = parsed(Version::V2, data);
        assert_eq!(second["segments"][0]["fields"]["1"], "|");
        assert_eq!(second["segments"][0]["fields"]["3"], "A");
        let fields = &second["segments"][1]["fields"];
        assert_eq!(
            (&fields["3.1.1"], &fields["3.1.2"], &fields["3.2"]),
            (&"x".into(), &"y".into(), &"z".into())
        );
        assert_eq!(fields["5"], "5 \\T\\ 6 \\X41C3A9\\ \\H\\bold \\ \\Q\\");
        assert_eq!(second["segments"][1]["setId"], "1");
        let third = parsed(Version::V3, data);
        assert_eq!(
            third["segments"][1]["fields"]["5"],
            "5 & 6 Aé \\H\\bold \\ \\Q\\"
        );
    }

    #[test]
    fn what_is_not_taken() {
        let read = |data: &[u8]| {
            parser(Version::V1)
                .read(data, &TimeZone::UTC)
                .map_err(|refusal| refusal.body().to_string())
        };
        for (data, words) in [
            (&b"PID|1"[..], "first segment"),
            (b"", "first segment"),
            (b"MSH", "separator"),
            (b"MSH|^~\\&||||||||||||||||8859/1\r", "unsupported encoding"),
            (
                b"MSH|^~\\&||||||||||||||||ASCII\nPID|1\n",
                "unsupported encoding",
            ),
            (b"MSH|^~\\&|\rPID|\xe9", "unsupported encoding"),
        ] {
            assert!(read(data).unwrap_err().contains(words), "{data:?}");
        }
        // Without MSH-18 only MSH is found in a message with other line ends.
        assert!(read(b"MSH|^~\\&|A\nPID|1\n").is_ok());
        let fields = |text: &str| {
            Json::parse(text.as_bytes())
                .unwrap()
                .as_object()
                .unwrap()
                .clone()
        };
        let lf = Parser::of(&fields(r#"{"parserConfig":{"segmentTerminator":"Cg=="}}"#)).unwrap();
        assert!(
            lf.read(b"MSH|^~\\&||||||||||||||||ASCII\nPID|1\n", &TimeZone::UTC)
                .is_ok()
        );
        let null = Parser::of(&fields(r#"{"parserConfig":{"allowNullHeader":true}}"#)).unwrap();
        assert!(null.read(b"PID|1\r", &TimeZone::UTC).is_ok());
        assert!(Parser::of(&fields(r#"{"parserConfig":{"segmentTerminator":"*"}}"#)).is_err());
    }

    #[test]
    fn base64_of_either_alphabet() {
        for text in ["+/8=", "-_8=", "+/8", "-_8"] {
            assert_eq!(decode(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(decode("a b"), None);
    }

    proptest! {
        #[test]
        fn never_panics(data in prop::collection::vec(any::<u8>(), 0..80), text in "MSH[|]\\^~\\\\&([A-Z|^~&\\\\]|\rPID[|]){0,60}") {
            for data in [&data[..], text.as_bytes()] {
                let parser = parser(Version::V3);
                let _ = parser.read(data, &TimeZone::UTC);
                let _ = parser.parsed(data);
            }
        }
    }
}
