//! The `stoker` binary: hands over to [`stoker::cli`].

fn main() -> std::process::ExitCode {
    stoker::cli::run()
}
