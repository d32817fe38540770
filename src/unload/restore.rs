//! Puts back the records that a run has changed: the version before that of the run, where the store keeps it, and only
//! while the store holds what the run left.
//!
//! A restoration sends the bytes of the version as the store tells it. It may be repeated: a record that is again as it
//! was before is found so, whatever was killed when.

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::{Ended, Error, Notes, Unload, removal_plan::Changed};
use crate::{
    journal::{RecordState, Removal, RemovalLine},
    lookup::OpenStore,
    record::StepId,
    target::{Likeness, Named, Version},
};

const UNTOLD: &str = "the store does not tell what it was before";
const UNVERSIONED: &str =
    "the store gave it no version when it was loaded, so nobody knows what it was before";
const CHANGED: &str = "it was changed since it was loaded";

impl Unload<'_> {
    /// Restores what the run has changed; before anything is deleted, so that nothing refers to what goes.
    pub(super) async fn restore(
        &self,
        notes: &mut Notes<'_>,
        is_stopping: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Error> {
        let stores = self.stores.values().flatten();
        let requests: usize = stores.map(|store| store.requests).sum();
        let mut done = stream::iter(self.draft.changed.iter().map(|changed| async move {
            if is_stopping() {
                Ok(None)
            } else {
                self.put_back(changed).await
            }
        }))
        .buffer_unordered(requests.max(1));
        let mut failed = None;
        while let Some(ended) = done.next().await {
            match ended {
                Ok(ended) => notes.note(ended.into_iter().collect())?,
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn put_back(&self, changed: &Changed) -> Result<Option<Ended>, Error> {
        let Some(Some(store)) = self.stores.get(&changed.target) else {
            return Ok(Some(changed.ended(Removal::Gone, None, None)));
        };
        let (Some(first), Some(last)) = (self.version(changed.first)?, self.version(changed.last)?)
        else {
            return Ok(Some(changed.ended(
                Removal::Changed,
                None,
                Some(UNVERSIONED),
            )));
        };
        let name = Named {
            kind: &changed.kind,
            id: &changed.id,
        };
        let stays = |why| Ok(Some(changed.ended(Removal::Changed, None, Some(why))));
        let (current, before) = match self.versions(store, name, &first).await? {
            Asked::Told { current, before } => (current, before),
            Asked::Refused(status @ (404 | 410)) => {
                let read = store.ask(store.target.read(name.kind, name.id), 1).await?;
                let Some(read) = read else { return Ok(None) };
                let is_gone =
                    matches!(read.status().as_u16(), 404 | 410) && store.target.is_own_miss(&read);
                return Ok(Some(if is_gone {
                    changed.ended(Removal::Gone, Some(status), None)
                } else {
                    // A store without this interaction answers so, too.
                    changed.ended(Removal::Refused, Some(status), Some(UNTOLD))
                }));
            }
            Asked::Refused(status) => {
                return Ok(Some(changed.ended(
                    Removal::Refused,
                    Some(status),
                    Some(UNTOLD),
                )));
            }
            Asked::Nothing => return Ok(Some(changed.ended(Removal::Refused, None, Some(UNTOLD)))),
            Asked::Silent => return Ok(None),
        };
        let left = changed.since.as_ref().unwrap_or(&last);
        if current.version != *left {
            // An earlier attempt may have put it back.
            return if is_same(store, &current, &before) {
                Ok(Some(changed.restored(None, Some(current.version))))
            } else {
                stays(CHANGED)
            };
        }
        let Some(request) = store.target.restore(name, left, before.clone()) else {
            return Ok(Some(changed.ended(Removal::Refused, None, Some(UNTOLD))));
        };
        let answer = store.ask(request, 1).await?;
        let status = answer.as_ref().map(|answer| answer.status().as_u16());
        match status {
            Some(200 | 201 | 203..=299) => {
                let told = answer.map(|answer| {
                    let (headers, body) = (answer.headers(), answer.body());
                    store.target.held(name.kind, headers, body).version
                });
                let version = match told.flatten() {
                    Some(version) => Some(version),
                    None => match self.versions(store, name, &first).await? {
                        Asked::Told { current, before } if is_same(store, &current, &before) => {
                            Some(current.version)
                        }
                        _ => None,
                    },
                };
                Ok(Some(changed.restored(status, version)))
            }
            // Somebody was faster; or a first attempt was taken, and its answer lost; or it is done later.
            None | Some(202 | 409 | 412) => match self.versions(store, name, &first).await? {
                Asked::Told { current, before } if is_same(store, &current, &before) => {
                    Ok(Some(changed.restored(status, Some(current.version))))
                }
                Asked::Told { .. } if status != Some(202) && status.is_some() => stays(CHANGED),
                _ => Ok(None),
            },
            Some(_) => {
                let mut ended = changed.ended(Removal::Refused, status, None);
                ended.line.code = answer.and_then(|a| store.target.refusal(None, a.body()).code);
                Ok(Some(ended))
            }
        }
    }

    /// Returns in which version a record of the plan left what it changed.
    fn version(&self, record: StepId) -> Result<Option<String>, Error> {
        Ok(match self.history.fate(record)? {
            RecordState::Settled(line) | RecordState::Standing(line) => line.version,
            RecordState::Untouched | RecordState::Intended(_) => None,
        })
    }

    /// Asks for the newest version of a record, and for the one before that of the run.
    async fn versions(
        &self,
        store: &OpenStore,
        name: Named<'_>,
        own: &str,
    ) -> Result<Asked, Error> {
        let Some(request) = store.target.history(name) else {
            return Ok(Asked::Nothing);
        };
        let Some(answer) = store.ask(request, 1).await? else {
            return Ok(Asked::Silent);
        };
        if !answer.status().is_success() {
            return Ok(Asked::Refused(answer.status().as_u16()));
        }
        let Some(versions) = store.target.versions(name, &answer) else {
            return Ok(Asked::Nothing);
        };
        let mut versions = versions.into_iter();
        let Some(current) = versions.next() else {
            return Ok(Asked::Nothing);
        };
        if current.resource.is_none() {
            return Ok(Asked::Refused(410));
        }
        let rest: Vec<Version> = versions.collect();
        let before = if current.version == own {
            rest.into_iter().next()
        } else {
            rest.into_iter()
                .skip_while(|version| version.version != own)
                .nth(1)
        };
        Ok(match before.and_then(|before| before.resource) {
            Some(before) => Asked::Told { current, before },
            None => Asked::Nothing,
        })
    }
}

/// The store's answer about the versions of a record.
enum Asked {
    Told {
        current: Version,
        before: Bytes,
    },
    Refused(u16),
    /// It does not tell what was before.
    Nothing,
    /// No answer came that tells.
    Silent,
}

impl Changed {
    /// It was put back, and the store has it in this version now.
    fn restored(&self, status: Option<u16>, version: Option<String>) -> Ended {
        let mut ended = self.ended(Removal::Restored, status, None);
        ended.line.version = version;
        ended
    }

    fn ended(&self, outcome: Removal, status: Option<u16>, note: Option<&str>) -> Ended {
        Ended {
            line: RemovalLine {
                record: self.last,
                outcome,
                status,
                code: None,
                note: note.map(str::to_owned),
                version: None,
            },
            target: self.target.clone(),
            kind: self.kind.clone(),
            place: self.place.clone(),
        }
    }
}

/// Tells whether two versions hold the same, but for what the store says of them.
fn is_same(store: &OpenStore, current: &Version, before: &[u8]) -> bool {
    let current = current.resource.as_deref();
    current.is_some_and(|current| store.target.is_alike(Likeness::Same, before, current))
}
