//! What earlier runs have loaded, kept in the state directory as a hint: a repeated load need not send it again.
//!
//! Keyed by target, interaction and content hash of the record; the n-th record of the same key is the n-th that was
//! loaded. It is taken from the journals of runs (`take_in`), so that a run which was killed is known as well. Whether the
//! store is still the one that was loaded is `send`'s to find out. No content of records stands here (design §10).

use std::{
    collections::HashMap,
    hash::BuildHasher as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    event::LoadId,
    journal::{self, Fate, RunDirectory, SettleLine},
    plan::{
        self, Step,
        file::{Entry, Saved},
    },
    record::{Interaction, Outcome},
};

/// The history could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its own file.
    #[error("cannot use the history `{}`: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The plan of a run.
    #[error(transparent)]
    Plan(#[from] plan::file::Error),
    /// The journal of a run.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

/// What became of a record of this key before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// An earlier run loaded it.
    Loaded {
        /// The id that the store gave it, or that it brought.
        id: String,
        /// The version that the store gave it.
        version: Option<String>,
    },
    /// An earlier run was sending it, and nobody knows whether it arrived.
    Doubtful {
        /// When it was first about to be sent.
        since: Timestamp,
        /// What it was marked with.
        tag: Option<String>,
    },
}

/// The history of a state directory.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    path: PathBuf,
}

/// Raised whenever the tables change; a file of another version is begun anew, since it is only a hint.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS target (number INTEGER PRIMARY KEY, place TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS record (
    target INTEGER NOT NULL, interaction TEXT NOT NULL, hash BLOB NOT NULL, nth INTEGER NOT NULL,
    id TEXT, version TEXT, since TEXT, tag TEXT,
    PRIMARY KEY (target, interaction, hash, nth)
) WITHOUT ROWID;
";

/// Counts records of the same key, in the order of a plan.
#[derive(Debug, Default)]
pub struct Counter {
    // A hash of the key: two keys that share one are counted as one, and then a record is loaded again at the worst.
    seen: HashMap<u64, u32>,
    state: foldhash::quality::RandomState,
}

impl Counter {
    /// Returns how many records of the same key came before.
    pub fn count(&mut self, target: &str, interaction: Interaction, hash: u128) -> u32 {
        let key = self.state.hash_one((target, interaction, hash));
        let seen = self.seen.entry(key).or_default();
        *seen += 1;
        *seen - 1
    }
}

impl History {
    /// Opens the history of a state directory, or begins it.
    ///
    /// # Errors
    ///
    /// When its file cannot be used.
    pub fn open(state: &Path) -> Result<Self, Error> {
        let path = state.join("history.sqlite");
        let fail = |why: String| Error::File {
            path: path.clone(),
            why,
        };
        journal::private_directory(state).map_err(|e| fail(e.to_string()))?;
        // Made here, so that only its owner may read it from the start.
        journal::private_append(&path).map_err(|e| fail(e.to_string()))?;
        let open = || {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(std::time::Duration::from_secs(30))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let version: i64 =
                connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version != VERSION {
                connection.execute_batch(
                    "DROP TABLE IF EXISTS target; DROP TABLE IF EXISTS run; DROP TABLE IF EXISTS record;",
                )?;
                connection.pragma_update(None, "user_version", VERSION)?;
            }
            connection.execute_batch(TABLES)?;
            Ok(connection)
        };
        let connection = open().map_err(|e: rusqlite::Error| fail(e.to_string()))?;
        Ok(Self { connection, path })
    }

    fn fail(&self, error: &rusqlite::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            why: error.to_string(),
        }
    }

    /// Tells whether anything is known of a target.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn knows(&self, target: &str) -> Result<bool, Error> {
        let query = "SELECT 1 FROM record JOIN target ON target.number = record.target WHERE place = ?1 LIMIT 1";
        self.connection
            .prepare_cached(query)
            .and_then(|mut statement| statement.exists([target]))
            .map_err(|e| self.fail(&e))
    }

    /// Returns what became of the n-th record of a key.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn before(
        &self,
        target: &str,
        interaction: Interaction,
        hash: u128,
        nth: u32,
    ) -> Result<Option<Before>, Error> {
        let query = "SELECT id, version, since, tag FROM record
            WHERE target = (SELECT number FROM target WHERE place = ?1) AND interaction = ?2 AND hash = ?3 AND nth = ?4";
        let read = |row: &rusqlite::Row<'_>| {
            let id: Option<String> = row.get(0)?;
            let since: Option<String> = row.get(2)?;
            let since = since.and_then(|since| since.parse().ok());
            Ok(match (id, since) {
                (Some(id), _) => Some(Before::Loaded {
                    id,
                    version: row.get(1)?,
                }),
                (None, Some(since)) => Some(Before::Doubtful {
                    since,
                    tag: row.get(3)?,
                }),
                (None, None) => None,
            })
        };
        let key = params![target, interaction.as_str(), hash.to_be_bytes(), nth];
        self.connection
            .prepare_cached(query)
            .and_then(|mut statement| statement.query_row(key, read).optional())
            .map(Option::flatten)
            .map_err(|e| self.fail(&e))
    }

    /// Takes in what the journal of a run says, if it says more than when it was last taken in.
    ///
    /// # Errors
    ///
    /// When the run or the history cannot be read or written.
    pub fn take_in(&mut self, run: &RunDirectory) -> Result<(), Error> {
        let io = |e: std::io::Error| Error::File {
            path: run.journal(),
            why: e.to_string(),
        };
        let size = fs_err::metadata(run.journal()).map_err(io)?.len();
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let name = run.name();
        let known: Option<i64> = self
            .connection
            .query_row("SELECT size FROM run WHERE name = ?1", [&name], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|e| self.fail(&e))?;
        if known == Some(size) {
            return Ok(());
        }
        let saved = Saved::open(&run.plan())?;
        let history = journal::read(&run.journal())?;
        let path = self.path.clone();
        let fail = |e: rusqlite::Error| Error::File {
            path: path.clone(),
            why: e.to_string(),
        };
        let transaction = self.connection.transaction().map_err(fail)?;
        {
            let mut counter = Counter::default();
            let mut add = Adding {
                target: transaction
                    .prepare("INSERT INTO target (place) VALUES (?1) ON CONFLICT DO NOTHING")
                    .map_err(fail)?,
                record: transaction
                    .prepare(
                        "INSERT OR REPLACE INTO record (target, interaction, hash, nth, id, version, since, tag)
                        VALUES ((SELECT number FROM target WHERE place = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    )
                    .map_err(fail)?,
            };
            for (index, load) in (0_u32..).zip(&saved.header.loads) {
                let Some(target) = saved.header.target_of(LoadId(index)) else {
                    continue;
                };
                let place = target.settings.store.place();
                add.target.execute([&place]).map_err(fail)?;
                for entry in saved.steps(LoadId(index))? {
                    let Entry::Step(step) = entry? else { continue };
                    let Some(interaction) = step.action.interaction() else {
                        continue;
                    };
                    let nth = counter.count(&place, interaction, step.hash);
                    let tag = (load.settles_by() == crate::manifest::Settle::Tag)
                        .then(|| history.journal.tag(step.number));
                    let before = before(&step, interaction, history.fate(step.number)?, tag);
                    if let Some(before) = before {
                        let key = (place.as_str(), interaction, step.hash, nth);
                        add.record(key, before).map_err(fail)?;
                    }
                }
            }
        }
        transaction
            .execute(
                "INSERT OR REPLACE INTO run (name, size) VALUES (?1, ?2)",
                params![name, size],
            )
            .map_err(fail)?;
        transaction.commit().map_err(fail)
    }
}

/// What is added to the history.
struct Adding<'a> {
    target: rusqlite::Statement<'a>,
    record: rusqlite::Statement<'a>,
}

impl Adding<'_> {
    fn record(
        &mut self,
        (place, interaction, hash, nth): (&str, Interaction, u128, u32),
        before: Before,
    ) -> Result<(), rusqlite::Error> {
        let (id, version, since, tag) = match before {
            Before::Loaded { id, version } => (Some(id), version, None, None),
            Before::Doubtful { since, tag } => (None, None, Some(since.to_string()), tag),
        };
        let word = interaction.as_str();
        let hash = hash.to_be_bytes();
        let row = params![place, word, hash, nth, id, version, since, tag];
        self.record.execute(row).map(|_| ())
    }
}

/// Returns what a later run should know of a record; nothing of one that did not arrive, which leaves what an earlier run
/// has told of it.
fn before(
    step: &Step,
    interaction: Interaction,
    fate: Fate,
    tag: Option<String>,
) -> Option<Before> {
    let once = !interaction.is_idempotent();
    match fate {
        Fate::Intended(intend) => once.then(|| Before::Doubtful {
            since: intend.at,
            tag: intend.tag.or(tag),
        }),
        Fate::Settled(SettleLine {
            outcome: Outcome::Unknown,
            since: Some(since),
            tag: others,
            ..
        }) => once.then(|| Before::Doubtful {
            since,
            tag: others.or(tag),
        }),
        // It is there, and not whole: found by its tag, it is made so.
        Fate::Standing(_) => once.then_some(Before::Doubtful {
            since: Timestamp::UNIX_EPOCH,
            tag,
        }),
        Fate::Settled(line) if line.outcome.is_well() => Some(Before::Loaded {
            id: line.id.or_else(|| step.id.clone())?,
            version: line.version,
        }),
        Fate::Untouched | Fate::Settled(_) => None,
    }
}

#[cfg(test)]
mod tests;
