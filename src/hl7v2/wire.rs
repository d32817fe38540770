//! The bytes that are sent of a message: its own, changed only as a load asks for.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    charset::{NotConverted, convert},
    segment::normalised,
};

/// How segments end in what is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Segments {
    /// By CR, as the standard has it, whatever stands in the file.
    #[default]
    Cr,
    /// As in the file.
    AsIs,
}

/// In which characters a message is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Characters {
    /// In those of the file.
    #[default]
    AsIs,
    /// In UTF-8, and MSH-18 says so.
    Convert,
}

/// Returns the bytes of a message that are sent. A store that names messages by their bytes names it by these.
///
/// # Errors
///
/// The reason why it cannot be written in UTF-8, where that is asked for.
pub fn wire(
    message: &[u8],
    segments: Segments,
    characters: Characters,
) -> Result<Cow<'_, [u8]>, NotConverted> {
    let lines = match segments {
        Segments::Cr => normalised(message),
        Segments::AsIs => message.into(),
    };
    if characters == Characters::AsIs {
        return Ok(lines);
    }
    Ok(match lines {
        Cow::Borrowed(lines) => convert(lines, None)?,
        Cow::Owned(lines) => convert(&lines, None)?.into_owned().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_changed_only_as_asked() {
        let message = b"MSH|^~\\&|A|B|C|D|2025||ADT^A01|1|P|2.5||||||8859/1\nPID|1||7||M\xfcller\n";
        let sent = |segments, characters| wire(message, segments, characters).unwrap();
        assert_eq!(sent(Segments::AsIs, Characters::AsIs), message.as_slice());
        let ended = sent(Segments::Cr, Characters::AsIs);
        assert!(ended.ends_with(b"M\xfcller\r") && !ended.contains(&b'\n'));
        let converted = sent(Segments::Cr, Characters::Convert);
        let converted = std::str::from_utf8(&converted).unwrap();
        assert!(converted.contains("|UNICODE UTF-8\r") && converted.contains("Müller"));
        let undeclared = b"MSH|^~\\&|A|B|C|D|2025||ADT^A01|1|P|2.5\rPID|1||7||M\xfcller\r";
        assert!(wire(undeclared, Segments::Cr, Characters::Convert).is_err());
        assert!(wire(undeclared, Segments::Cr, Characters::AsIs).is_ok());
    }
}
