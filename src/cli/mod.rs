//! The verbs of the command line.

use std::process::ExitCode;

/// Parses the command line, runs the verb, and returns its exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
