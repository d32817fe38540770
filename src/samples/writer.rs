//! Writes samples down while a run goes on. A thread does it: a runtime may be busy reading sources.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Recorder, Sample, fold, path, read, width};
use crate::{
    event::Observe,
    journal::{RunDirectory, private_append, private_file},
};

/// The length of a sample.
const SECOND: Duration = Duration::from_secs(1);

/// Lines beyond which a file is folded: half an hour of one target second by second, and less than a megabyte.
const LINES: usize = 2_048;

/// The number of further ones for each target.
const LINES_A_TARGET: usize = 128;

/// The reason why there are no samples. A run goes on without them.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`: {why}", path.display())]
pub struct Error {
    path: PathBuf,
    #[source]
    why: io::Error,
}

/// A session of which samples are taken, until it is finished.
#[derive(Debug)]
pub struct Sampling {
    recorder: Arc<Recorder>,
    path: PathBuf,
    thread: Option<(mpsc::Sender<()>, JoinHandle<io::Result<()>>)>,
}

impl Sampling {
    /// Begins with a session of a run, which began `since` the first one did.
    pub fn begin(run: &RunDirectory, session: u32, since: Duration) -> Self {
        let recorder = Arc::new(Recorder::default());
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("samples".to_owned());
        let thread = thread.spawn({
            let (recorder, run) = (Arc::clone(&recorder), run.clone());
            move || {
                let mut lines = Lines::open(run)?;
                // A clock that was set back in between does not make a session begin before the one before it ended.
                let since = std::cmp::max(since, Duration::from_millis(lines.last));
                let started = Instant::now();
                let mut at = Duration::ZERO;
                loop {
                    let next = (at + SECOND).saturating_sub(started.elapsed());
                    let is_over = !matches!(
                        stopped.recv_timeout(next),
                        Err(mpsc::RecvTimeoutError::Timeout)
                    );
                    let now = started.elapsed();
                    let samples = recorder.take(session, since + at, now.saturating_sub(at));
                    lines.append(&samples, recorder.targets())?;
                    at = now;
                    if is_over {
                        return Ok(());
                    }
                }
            }
        });
        Self {
            recorder,
            path: path(run),
            thread: thread.ok().map(|thread| (stop, thread)),
        }
    }

    /// Returns who takes note of events.
    pub fn observer(&self) -> Arc<dyn Observe> {
        Arc::clone(&self.recorder) as Arc<dyn Observe>
    }

    /// Writes what is left, and ends.
    ///
    /// # Errors
    ///
    /// When the samples could not be written: the run lacks some of its pictures.
    pub fn finish(mut self) -> Result<(), Error> {
        let failed = |why| Error {
            path: self.path.clone(),
            why,
        };
        let Some((stop, thread)) = self.thread.take() else {
            return Err(failed(io::Error::other("no thread could be started")));
        };
        drop(stop);
        match thread.join() {
            Ok(written) => written.map_err(failed),
            Err(_) => Err(failed(io::Error::other("it came to an end in its midst"))),
        }
    }
}

/// The lines of a file.
pub(super) struct Lines {
    run: RunDirectory,
    file: fs_err::File,
    pub(super) count: usize,
    /// The width to which they were folded, in milliseconds.
    pub(super) width: u64,
    /// When the last of them ends.
    last: u64,
}

impl Lines {
    /// Opens the file of a run for more; what an earlier session left torn is cut off.
    pub(super) fn open(run: RunDirectory) -> io::Result<Self> {
        let found = read(&run)?;
        let is_new = found.is_none();
        let samples = found.unwrap_or_default().samples;
        let widest = samples.iter().map(|sample| sample.for_ms).max();
        let mut lines = Self {
            file: private_append(&path(&run))?,
            count: samples.len(),
            // A sample that was folded is about as long as the stretch that it was folded in.
            width: (widest.unwrap_or(0) / 1_000).next_power_of_two() * 1_000,
            last: samples.iter().map(Sample::end_ms).max().unwrap_or(0),
            run,
        };
        if !is_new {
            lines.replace(&samples)?;
        }
        Ok(lines)
    }

    pub(super) fn append(&mut self, samples: &[Sample], targets: usize) -> io::Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        self.count += samples.len();
        self.file.write_all(&json(samples)?)?;
        let most = LINES + LINES_A_TARGET * targets;
        if self.count <= most {
            return Ok(());
        }
        let found = read(&self.run)?.unwrap_or_default();
        // Room for some minutes more, so that it is done seldom.
        self.width = width(&found.samples, most / 4 * 3, self.width);
        self.replace(&fold(found.samples, self.width))
    }

    /// Puts other lines in the place of those there are, all at once.
    fn replace(&mut self, samples: &[Sample]) -> io::Result<()> {
        let path = path(&self.run);
        let temporary = path.with_file_name(".samples.ndjson.new");
        private_file(&temporary)?.write_all(&json(samples)?)?;
        fs_err::rename(&temporary, &path)?;
        self.file = private_append(&path)?;
        self.count = samples.len();
        Ok(())
    }
}

fn json(samples: &[Sample]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for sample in samples {
        serde_json::to_writer(&mut lines, sample)?;
        lines.push(b'\n');
    }
    Ok(lines)
}
