//! The number of files and connections that this process may have open: as many as the system lets it, and enough to
//! begin.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Error, Exit};

/// Files that a load holds open before its first connection: the journal and other files of the run, the history, the
/// local store, and those that the runtime needs; and some connections.
const FEWEST: u64 = 64;

/// Takes what the system allows, as a load opens many connections where the store takes them.
///
/// # Errors
///
/// It is too little for a load: a failure somewhere in its midst would look like damage.
pub(super) fn raise() -> Result<(), Error> {
    let limit = getrlimit(Resource::Nofile);
    let Rlimit { current, maximum } = limit;
    if current != maximum {
        // A limit that cannot be raised has to do.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
    match getrlimit(Resource::Nofile).current {
        Some(may) if may < FEWEST => Err(Error::new(
            Exit::Disk,
            format!(
                "this process may have only {may} files open at once (`ulimit -n`), and a load needs {FEWEST} to begin"
            ),
        )
        .hint("raise the limit, such as with `ulimit -n 1024`; nothing was sent")),
        _ => Ok(()),
    }
}
