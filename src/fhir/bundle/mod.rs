//! Bundles without their resources: the envelope of one entry, and the outline of a whole Bundle.
//!
//! The fate of an entry's own request is decided by `plan`.

mod envelope;
mod outline;

pub use self::{
    envelope::{EntryEnvelope, Request, envelope},
    outline::{BundleEntries, Outline},
};

/// The purpose of a Bundle (<https://hl7.org/fhir/R4/valueset-bundle-type.html>, and R4B's subscriptions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BundleKind {
    /// `transaction`.
    Transaction,
    /// `batch`.
    Batch,
    /// `collection`.
    Collection,
    /// `searchset`.
    Searchset,
    /// `history`.
    History,
    /// `document`.
    Document,
    /// `message`.
    Message,
    /// `transaction-response`.
    TransactionResponse,
    /// `batch-response`.
    BatchResponse,
    /// `subscription-notification`.
    SubscriptionNotification,
    /// No `type`, or one that is not a string.
    Missing,
    /// A `type` that no version of FHIR has.
    Other,
}

impl BundleKind {
    /// Reads the code of `Bundle.type`.
    pub fn of(code: Option<&str>) -> Self {
        match code {
            Some("transaction") => Self::Transaction,
            Some("batch") => Self::Batch,
            Some("collection") => Self::Collection,
            Some("searchset") => Self::Searchset,
            Some("history") => Self::History,
            Some("document") => Self::Document,
            Some("message") => Self::Message,
            Some("transaction-response") => Self::TransactionResponse,
            Some("batch-response") => Self::BatchResponse,
            Some("subscription-notification") => Self::SubscriptionNotification,
            Some(_) => Self::Other,
            None => Self::Missing,
        }
    }

    /// Returns the word for messages: the code, `without type` or `of unknown type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Batch => "batch",
            Self::Collection => "collection",
            Self::Searchset => "searchset",
            Self::History => "history",
            Self::Document => "document",
            Self::Message => "message",
            Self::TransactionResponse => "transaction-response",
            Self::BatchResponse => "batch-response",
            Self::SubscriptionNotification => "subscription-notification",
            Self::Missing => "without type",
            Self::Other => "of unknown type",
        }
    }
}
