//! Stoker loads healthcare data stores from a manifest, with a true outcome for every record.
//!
//! Data flows one way:
//!
//! ```text
//!  YAML ─ manifest::read → Manifest ─┐
//!  target ─ probe → facts ───────────┼ plan → Plan ─ send::run ─┬→ journal (durable first) ─ report → text, json, junit, md
//!  source ─ scan → records ──────────┘ pure     one gate per target └→ events → progress (may drop)
//! ```
//!
//! The modules, from the bottom up; a module uses only modules of lower layers (`tests/architecture`
//! lists the edges):
//!
//! - 0: [`record`] (what travels, and how it ends), [`mod@unit`] (rates, sizes, durations), [`diagnostic`]
//!   (problems with a place), [`event`] (what watchers are told), [`spill`]
//!   (long lists of numbers, on the disk beyond a limit), [`mod@checksum`] (of a line of a file), [`mod@path`] (paths as people
//!   read them), [`small_file`] (the files of settings, read within a limit), [`fhir`] (pure knowledge of FHIR JSON), [`hl7v2`] (pure knowledge of HL7v2's bytes),
//!   [`dicom`] (pure knowledge of DICOM's bytes).
//! - 1: [`manifest`] (what the user wrote), [`storage`] (where bytes lie), [`source`] (bytes into records), [`target`] (builds requests,
//!   reads responses), [`auth`] (credentials). They do not know each other, but for the manifest's settings.
//! - 2: [`plan`] (what will be done with every record; pure but for the file that keeps it), [`gate`] (sends any request to a target).
//! - 3: [`mod@survey`] (reads the sources into a plan), [`probe`] (facts of a target), [`ensure`] (creates stores), [`lookup`] (asks which resource a condition
//!   means), [`send`] (carries a plan out, asks what it would change, or compares the stores with it), [`journal`] (the only truth of what happened),
//!   [`history`] (what earlier runs have loaded), [`unload`] (deletes what a run created), [`samples`] (how a run went, second by
//!   second, for pictures).
//! - 4: [`report`] (reads the journal), [`progress`] (draws events), [`metrics`] (counts them for Prometheus), [`telemetry`]
//!   (pushes figures and a trace to a collector).
//! - 5: [`emulator`] (the embedded local store).
//! - 6: [`cli`] (reads arguments and the environment, writes to the terminal, chooses the exit code).
//!
//! The library exists for the binary and its tests; it promises no stable interface.

pub mod auth;
pub mod checksum;
pub mod cli;
pub mod diagnostic;
pub mod dicom;
pub mod emulator;
pub mod ensure;
pub mod event;
pub mod fhir;
pub mod gate;
pub mod history;
pub mod hl7v2;
pub mod journal;
pub mod lookup;
pub mod manifest;
pub mod metrics;
pub mod path;
pub mod plan;
pub mod probe;
pub mod progress;
pub mod record;
pub mod report;
pub mod samples;
pub mod send;
pub mod small_file;
pub mod source;
pub mod spill;
pub mod storage;
pub mod survey;
pub mod target;
pub mod telemetry;
pub mod unit;
pub mod unload;
