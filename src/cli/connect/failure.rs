//! What users are told when a target cannot be asked, or refuses.

use bytes::Bytes;
use http::Response;

use crate::{
    cli::{Context, Error, Exit},
    fhir::outcome,
    gate::CallFailure,
};

/// Names the target of a problem.
pub(in crate::cli) fn at_target(name: &str, mut error: Error) -> Error {
    for problem in &mut error.problems {
        problem.message = format!("target `{name}`: {}", problem.message);
    }
    error
}

/// Turns the failure of a request into what the user is told.
pub(in crate::cli) fn failed(failure: &CallFailure) -> Error {
    let error = Error::new(Exit::Target, failure);
    match failure.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Turns a refusal into what the user is told: codes and paths, and the server's words only where they are wanted.
pub(in crate::cli) fn refused(what: &str, response: &Response<Bytes>, context: Context) -> Error {
    let status = response.status();
    let problem = outcome::read(response.body());
    let codes = [problem.code, problem.detail].into_iter().flatten();
    let code = codes.fold(String::new(), |all, code| all + ", " + &code);
    let at = match problem.expression.as_slice() {
        [] => String::new(),
        expression => format!(", at {}", expression.join(", ")),
    };
    let words = if context.show_content {
        format!(": {}", problem.text)
    } else {
        String::new()
    };
    let message = format!("{what}: {status}{code}{at}{words}");
    let exit = match status.as_u16() {
        300..=399 | 401 | 403 | 500.. => Exit::Target,
        _ => Exit::SomeFailed,
    };
    let error = Error::new(exit, message);
    match (status.as_u16(), context.show_content) {
        (401, _) => {
            error.hint("the server does not accept the credentials; see `stoker create --help`")
        }
        (403, _) => {
            error.hint("the credentials may not do that there, or the store does not exist")
        }
        (300..=399, _) => error.hint(
            "redirects are not followed; name the address that it leads to as the store's URL",
        ),
        (500.., _) => error.hint(
            "the server has trouble of its own; try again when it is well, or ask who runs it",
        ),
        (404, _) => {
            error.hint("check the store's name or URL too: a store that is missing answers so")
        }
        (410, _) | (_, true) => error,
        (_, false) => error
            .hint("--show-content also shows the server's words, which may hold patients' data"),
    }
}
