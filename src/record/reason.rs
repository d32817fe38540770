//! The reasons why records cannot be loaded, as far as they are known before anything is sent.

use serde::{Deserialize, Serialize};

/// Makes the codes from one table: variant, word, meaning.
macro_rules! codes {
    ($($variant:ident = $word:literal, $what:literal;)+) => {
        /// The reason why a record cannot be loaded, as a word for machines. `docs/reasons.md` lists all of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ReasonCode {
            $(
                #[doc = $what]
                #[serde(rename = $word)]
                $variant,
            )+
        }

        impl ReasonCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the word in plans and reports.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Returns what it means, for documentation.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $what,)+
                }
            }
        }
    };
}

codes! {
    Malformed = "malformed", "The bytes are no record: not well-formed, cut, or not what the file promises.";
    UnrecognizedForm = "unrecognized-form", "The file is in a form that is not read.";
    NoType = "no-type", "The resource has no `resourceType`.";
    UnknownType = "unknown-type", "Its type is none of FHIR's, or none of R4's.";
    TypeNotTaken = "type-not-taken", "The target does not take its type.";
    BadId = "bad-id", "Its id is not one that FHIR allows.";
    NoId = "no-id", "It is to be updated, and has no id.";
    IdDiffers = "id-differs", "The entry's request names another id than its resource has.";
    TypeDiffers = "type-differs", "The entry's request names another type than its resource has.";
    NoIdentifier = "no-identifier", "It has no identifier of a system that `identity` names for its type.";
    NoResource = "no-resource", "The entry holds no resource.";
    NoRequest = "no-request", "The entry holds no request, and the load sets no `interaction`.";
    BadMethod = "bad-method", "The method of the entry's request is none of FHIR's.";
    BadRequestUrl = "bad-request-url", "The URL of the entry's request names nothing that can be written.";
    AbsoluteRequestUrl = "absolute-request-url", "The URL of the entry's request is absolute, and not the target's.";
    OperationEntry = "operation-entry", "The entry calls an operation, which is not loading.";
    ConditionTypeDiffers = "condition-type-differs", "`ifNoneExist` searches another type than the request names.";
    NoCondition = "no-condition", "`ifNoneExist` holds no condition.";
    BundleType = "bundle-type", "The Bundle has no type, or none of R4's.";
    BundleTooLarge = "bundle-too-large", "The Bundle has more bytes than the target takes.";
    NoTransaction = "no-transaction", "The target executes no transactions.";
    NoBatch = "no-batch", "The target executes no batches.";
    TransactionTooLarge = "transaction-too-large", "The transaction has more entries or bytes than the target takes, and `transactions: refuse`.";
    TransactionRefused = "transaction-refused", "Another entry of its transaction cannot be loaded.";
    TooLarge = "too-large", "It has more bytes than the target takes.";
    Cycle = "cycle", "It refers to itself through others, and the target can hold none of them without the others.";
    AmbiguousReference = "ambiguous-reference", "Several records answer to one of its conditional references.";
    SameNameOtherBytes = "same-name-other-bytes", "Another record has the same name and other bytes.";
    Frame = "frame", "The message holds a byte that frames messages in MLLP.";
    Charset = "charset", "The message cannot be written in the character set that is asked for.";
    NoHeader = "no-header", "The message has no MSH segment that can be read.";
    NoMessage = "no-message", "What stands there is no message.";
    Utf16 = "utf-16", "The file is in UTF-16.";
    NoDicom = "no-dicom", "The file is no DICOM file.";
    NoMetaHeader = "no-meta-header", "The DICOM file has no file meta information.";
    NoTransferSyntax = "no-transfer-syntax", "The DICOM file names no transfer syntax.";
    Dicomdir = "dicomdir", "It is the directory of a medium: the instances that it names are loaded by themselves.";
    Cut = "cut", "The DICOM file ends within its header.";
    IdentityTooFar = "identity-too-far", "The UIDs of the DICOM file stand too far from its beginning.";
    NotInflatable = "not-inflatable", "The deflated data set cannot be inflated.";
    NoUid = "no-uid", "The DICOM file lacks the UID of its study, series, instance or class.";
    UnusableUid = "unusable-uid", "A UID of the DICOM file cannot name anything: it has more than 64 signs, or others than UIDs have.";
    Internal = "internal", "A bug in Stoker; please report it.";
}

/// The reason why a record cannot be loaded: Stoker's own words, with no content of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The word for machines.
    pub code: ReasonCode,
    /// The reason, in words.
    pub message: String,
    /// The place in the record, as a JSON path.
    pub path: Option<String>,
}

impl Reason {
    /// Makes a reason that is about the whole record.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            path: None,
        }
    }

    /// Says where in the record something is wrong.
    #[must_use]
    pub fn at(self, path: &str) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..self
        }
    }
}
