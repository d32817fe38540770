//! Asks whether to go on, and is interrupted at once.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::{Error, Exit, How, Printer};
use crate::send::Stop;

const NOTHING: &str = "nothing was deleted";

/// Asks whether to go on; where nobody can be asked, `--yes` has to be there.
pub(in crate::cli) async fn ask_for(how: How, question: &str, stop: &Stop) -> Result<(), Error> {
    if how.yes {
        return Ok(());
    }
    if !can_be_asked() {
        return Err(
            Error::usage("nothing was deleted: nobody can be asked here")
                .hint("`--dry-run` shows what would be deleted; `--yes` deletes it without asking"),
        );
    }
    let answer = answered(&format!("{question} [y/N] "), NOTHING, stop).await?;
    match answer.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::usage(NOTHING)),
    }
}

/// Tells whether somebody is there to answer.
pub(super) fn can_be_asked() -> bool {
    std::io::stdin().is_terminal() && Printer::is_watched()
}

/// Asks on standard error, and reads a line of standard input. A signal ends it at once; then `untouched` says what was not
/// done.
pub(in crate::cli) async fn answered(
    question: &str,
    untouched: &str,
    stop: &Stop,
) -> Result<String, Error> {
    let mut out = std::io::stderr();
    // Nothing can be said about a terminal that is gone.
    let _ = out
        .write_all(question.as_bytes())
        .and_then(|()| out.flush());
    // The thread that waits for an answer ends with the process.
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        read.map(|_| line.trim().to_owned())
    });
    tokio::select! {
        read = read => read
            .map_err(|error| Error::task(&error))?
            .map_err(|error| Error::usage(format!("cannot read the answer: {error}"))),
        () = stop.stopping() => {
            let _ = out.write_all(b"\n");
            Err(Error::new(Exit::Interrupted, "interrupted").hint(untouched))
        }
    }
}

/// Does what comes before anything is deleted, unless a signal comes: it ends that at once.
pub(super) async fn unless_stopped<T>(
    stop: &Stop,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = stop.stopping() => {
            Err(Error::new(Exit::Interrupted, "interrupted").hint("repeat the command to go on"))
        }
        done = work => done,
    }
}
