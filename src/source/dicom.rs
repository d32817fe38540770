//! Reads a DICOM file: the instance in it, or why it holds none.
//!
//! The header is read up to the pixels and understood by `dicom`; the rest of the file passes by, so that its bytes are known
//! again, and never stands in memory.

use std::io::{self, BufReader, Read};

use xxhash_rust::xxh3::Xxh3;

use super::{
    ErrorKind, Item,
    emitter::{ItemEmitter, Start, Stop},
};
use crate::{
    dicom::{
        header::{self, InstanceHeader, NotAnInstance, is_uid, transfer_syntax},
        is_modality,
    },
    record::{Alias, AliasRule, Facets, Reason, ReasonCode, hash},
};

/// The notice on a file whose pixels, or the elements around them, are not all there: its instance has a name, and a store may
/// refuse it.
const CUT: &str = "the file ends before its data set does";

/// The rule for SOP Instance UIDs, which ought to be unique in the world. A STOW answer names an instance by it, and says neither
/// its series nor its study.
static SOP_INSTANCE: AliasRule = AliasRule {
    twice: "its SOP Instance UID is also that of another instance, in another series or study: a store may keep only one of them",
    is_in_answers: true,
};

/// Reads one file to its end.
pub(super) fn read(reader: &mut dyn Read, sink: &mut ItemEmitter<'_>) -> Result<(), Stop> {
    // A header is read element by element.
    let mut buffered = BufReader::new(reader);
    let mut bytes = Passing {
        reader: &mut buffered,
        hash: Xxh3::new(),
        count: 0,
    };
    let header = header::read_whole(&mut bytes).map_err(ErrorKind::from)?;
    let is_cut = match &header {
        Ok(header) => header.is_cut(&mut bytes).map_err(ErrorKind::from)?,
        Err(_) => false,
    };
    io::copy(&mut bytes, &mut io::sink()).map_err(ErrorKind::from)?;
    let size = bytes.count;
    let position = sink.position(Start::OF_FILE, size, None);
    let mut facets = Facets::at(position, bytes.hash.digest128());
    match &header {
        Ok(header) => {
            facets.kind = header
                .modality
                .as_deref()
                .filter(|modality| is_modality(modality))
                .unwrap_or_default()
                .into();
            facets.id = Some(name(header).into());
            facets.alias = Some(Alias {
                hash: short(header.instance.as_bytes()),
                rule: &SOP_INSTANCE,
            });
            facets.together = Some(short(header.study.as_bytes()));
            let series = [&*header.study, "/", &header.series].concat();
            facets.within = vec![
                ("studies", short(header.study.as_bytes())),
                ("series", short(series.as_bytes())),
            ];
            // The transfer syntax in a file may be anything.
            let syntax = match header.transfer_syntax.as_str() {
                uid if is_uid(uid) => transfer_syntax(uid),
                _ => "one that is no UID",
            };
            facets.properties = vec![("transfer syntax", syntax.into())];
            if is_cut {
                facets.notices.push(CUT);
                facets.is_incomplete = true;
            }
        }
        Err(refusal) => facets.refused = Some(reason(*refusal)),
    }
    sink.records += 1;
    sink.tell(Item::Facets(facets))
}

/// The path of an instance below a DICOMweb service (PS3.18 §8.2), by which it is the same everywhere.
fn name(header: &InstanceHeader) -> String {
    format!(
        "studies/{}/series/{}/instances/{}",
        header.study, header.series, header.instance
    )
}

fn reason(refusal: NotAnInstance) -> Reason {
    let code = match refusal {
        NotAnInstance::Empty | NotAnInstance::NoDicom => ReasonCode::NoDicom,
        NotAnInstance::NoMeta => ReasonCode::NoMetaHeader,
        NotAnInstance::NoTransferSyntax => ReasonCode::NoTransferSyntax,
        NotAnInstance::Directory => ReasonCode::Dicomdir,
        NotAnInstance::Cut => ReasonCode::Cut,
        NotAnInstance::TooLong => ReasonCode::IdentityTooFar,
        NotAnInstance::Inflate => ReasonCode::NotInflatable,
        NotAnInstance::Missing(_) => ReasonCode::NoUid,
        NotAnInstance::Unusable(_) => ReasonCode::UnusableUid,
    };
    Reason::new(code, refusal.to_string())
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn short(bytes: &[u8]) -> u64 {
    hash(bytes) as u64
}

/// Hashes and counts what is read through it. The hash is the one of [`hash`], taken piece by piece.
struct Passing<'r> {
    reader: &'r mut dyn Read,
    hash: Xxh3,
    count: u64,
}

impl Read for Passing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.count += read as u64;
        Ok(read)
    }
}
