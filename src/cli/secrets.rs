//! Files that hold secrets, and who may read them: a warning where everyone on the machine may.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Diagnostic, shown},
    manifest::{Auth, SecretPlace, TargetSettings},
};

/// Permission to read for everyone.
const EVERYONE: u32 = 0o004;

/// Warns of the files of these targets that hold a secret, and that everyone may read. `google` is the file of which the
/// environment says that it holds Google's credentials.
pub(super) fn exposed(targets: &[TargetSettings], google: Option<&Path>) -> Vec<Diagnostic> {
    let mut files: Vec<(PathBuf, &str)> = Vec::new();
    for target in targets {
        let of_auth = match &target.auth {
            Auth::Google { credentials } => {
                credentials.clone().or_else(|| google.map(Path::to_owned))
            }
            Auth::Bearer(SecretPlace::File(path))
            | Auth::Basic {
                password: SecretPlace::File(path),
                ..
            } => Some(path.clone()),
            Auth::None | Auth::Bearer(_) | Auth::Basic { .. } => None,
        };
        for path in of_auth.into_iter().chain(target.tls.key.clone()) {
            if !files.iter().any(|(known, _)| *known == path) {
                files.push((path, &target.name));
            }
        }
    }
    files
        .iter()
        .filter(|(path, _)| may_everyone_read(path))
        .map(|(path, target)| {
            let path = shown(path);
            Diagnostic::warning(format!(
                "everyone on this machine may read `{path}`, which holds a secret of target `{target}`"
            ))
            .hint(format!("make it yours alone: chmod 600 '{path}'"))
        })
        .collect()
}

/// A file that is missing is told when it is used.
fn may_everyone_read(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & EVERYONE != 0)
}
