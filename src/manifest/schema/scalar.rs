//! Texts, numbers and words of a certain form, alone or in lists.

use schemars::JsonSchema;

/// One text or a list of texts.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum OneOrMore<T> {
    /// One.
    One(T),
    /// A list.
    More(#[schemars(length(min = 1))] Vec<T>),
}

/// A value, or a text with a variable that gives it.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum OrVariable<T> {
    /// The value.
    Value(T),
    /// A text with a variable.
    Variable(Variable),
}

/// Whether contents are compared, and how.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Compare {
    /// They are, or are not.
    Whether(bool),
    /// All bytes of instances are.
    How(CompareHow),
}

/// How contents are compared.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum CompareHow {
    /// Byte by byte.
    Bytes,
}

/// What becomes of records of one identity: in a load, or of instances in the store.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum DuplicatesOrExisting {
    /// The first is sent.
    First,
    /// The last is sent.
    Last,
    /// Nothing is sent before it is mended.
    Error,
    /// Each is sent.
    Ignore,
    /// What the store holds is left as it is, without a look.
    Skip,
    /// What the store holds is compared.
    Verify,
    /// What the store holds is replaced.
    Replace,
}

/// A number of failures or a percentage.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum MaxErrors {
    /// A number of records.
    Count(u64),
    /// A percentage of the plan's records.
    Percent(Percent),
}

/// A size in bytes.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Size {
    /// A number of bytes.
    Bytes(#[schemars(range(min = 1))] u64),
    /// A number with a unit.
    Text(SizeText),
}

/// A fixed number of requests in flight, or the two between which it is found.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Concurrency {
    /// This many, always.
    Fixed(OrVariable<Requests>),
    /// As many as the store takes best.
    Range(super::ConcurrencyRange),
}

/// Requests in flight.
#[derive(JsonSchema)]
pub struct Requests(#[schemars(range(min = 1, max = 1024))] pub u32);

/// A number of attempts.
#[derive(JsonSchema)]
pub struct Attempts(#[schemars(range(min = 1, max = 100))] pub u32);

/// A number of entries.
#[derive(JsonSchema)]
pub struct Entries(#[schemars(range(min = 1))] pub u32);

/// Defines a text of a certain form; a text with a variable passes.
macro_rules! text {
    ($($(#[$meta:meta])* $name:ident = $pattern:literal, $example:literal;)*) => {$(
        $(#[$meta])*
        #[derive(JsonSchema)]
        #[schemars(extend("pattern" = $pattern, "examples" = [$example]))]
        pub struct $name(pub String);
    )*};
}

text! {
    /// A text that is not empty.
    NonEmpty = ".", "text";
    /// A file that holds a secret.
    SecretFile = ".", "secrets/token";
    /// A name: what may also name a file.
    Name = r"^[^/\\\x00-\x1f]{1,100}$|\$\{", "clinic";
    /// A text with a variable from the environment.
    Variable = r"\$\{", "${NAME:-default}";
    /// The name of an environment variable.
    VariableName = "^[A-Za-z_][A-Za-z0-9_]*$", "FHIR_TOKEN";
    /// A URL that begins with `http://` or `https://`.
    WebUrl = r"^[Hh][Tt][Tt][Pp][Ss]?://.|\$\{", "https://fhir.example/r4";
    /// A rate of operations.
    RateText = r"^\s*[0-9_]+\s*/\s*(s|sec|second|m|min|minute)\s*$|\$\{", "500/s";
    /// A rate of bytes.
    BytesRate = r"^\s*[0-9_]+\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?\s*/\s*(s|sec|second|m|min|minute)\s*$|\$\{", "10 MB/s";
    /// A duration.
    DurationText = r"^\s*[0-9.]+\s*(ms|s|m|min|h)\s*$|\$\{", "30s";
    /// A size in bytes with a unit.
    SizeText = r"^\s*[0-9_]+\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?\s*$|\$\{", "64 MB";
    /// A percentage.
    Percent = r"^\s*[0-9.]+\s*%\s*$|\$\{", "2%";
}
