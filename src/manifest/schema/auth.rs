//! Credentials as they are written: never a secret, only where it is kept.

use schemars::JsonSchema;

use super::{NonEmpty, OrVariable, SecretFile, VariableName};

/// How to prove who we are.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Auth {
    /// Without any settings.
    Word(OrVariable<AuthWord>),
    /// With settings.
    Settings(AuthSettings),
}

/// Ways to authenticate that need no settings.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum AuthWord {
    /// Nothing is sent.
    None,
    /// Google's Application Default Credentials.
    Google,
}

/// Ways to authenticate that have settings. No secret stands in a manifest, only where it is kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum AuthSettings {
    /// Google credentials from a file of any kind that Google hands out.
    Google(GoogleAuth),
    /// `Authorization: Bearer`: where the token is kept. It is read anew when it is refused.
    Bearer(SecretPlace),
    /// `Authorization: Basic`: a user and where the password is kept.
    Basic(Basic),
}

impl AuthSettings {
    /// The keys that exist.
    pub const KEYS: &[&str] = &["google", "bearer", "basic"];
}

map! {
    /// Google credentials.
    GoogleAuth {
        /// A credential file, relative to the manifest.
        #[schemars(extend("examples" = ["keys/loader.json"]))]
        credentials: NonEmpty,
    }
}

map! {
    /// A user and where the password is kept.
    Basic {
        /// The user name.
        #[schemars(extend("examples" = ["loader"]))]
        user: NonEmpty,
        /// Where the password is kept.
        #[schemars(extend("examples" = [{"env": "FHIR_PASSWORD"}]))]
        password: SecretPlace,
    }
}

/// Where a secret is kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum SecretPlace {
    /// The name of an environment variable.
    Env(VariableName),
    /// A file, relative to the manifest; trailing line breaks are dropped. Only its owner should be able to read it.
    File(SecretFile),
}

impl SecretPlace {
    /// The keys that exist.
    pub const KEYS: &[&str] = &["env", "file"];
}
