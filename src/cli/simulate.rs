//! `portolan simulate`: policies compared in a simulated world, and decisions driven from outside.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use codespan_reporting::term::termcolor::StandardStream;

use super::{ConfigPath, FAILED, check};
use crate::config;
use crate::simulate::drive::{Drive, Refused};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 16;

/// The command line of `simulate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Read what happens from standard input, and answer as the server would
    #[arg(long)]
    pub drive: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
}

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    let Some(drive) = drive(&arguments.config.config) else { return ExitCode::from(FAILED) };
    match follow(drive, io::stdin().lock(), io::stdout().lock()) {
        Ok(0) => ExitCode::SUCCESS,
        // Who has seen enough closes the pipe; that is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// What is to be driven; what is wrong with the configuration is printed.
fn drive(path: &Path) -> Option<Drive> {
    match config::load(path, None) {
        Ok(loaded) => Some(Drive::new(loaded.settings.control)),
        Err(rejected) => {
            let mut out = StandardStream::stderr(check::colour(io::stderr().is_terminal()));
            for problem in &rejected.diagnostics {
                // Where that cannot be printed, neither can what else there is.
                let _ = problem.write(&mut out);
            }
            eprintln!("error: {} cannot be served", path.display());
            None
        }
    }
}

/// Takes line by line to the end; returns how many were refused.
fn follow(mut drive: Drive, input: impl Read, output: impl Write) -> io::Result<usize> {
    let (mut input, mut output) = (io::BufReader::new(input), io::BufWriter::new(output));
    let (mut line, mut refused) = (Vec::new(), 0);
    for number in 1.. {
        // Whoever waits for answers before the next line gets them.
        if !input.buffer().contains(&b'\n') {
            output.flush()?;
        }
        line.clear();
        if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let taken = if line.len() as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
            input.skip_until(b'\n')?;
            let error = format!("longer than {LONGEST_LINE} bytes");
            Err(Refused { error, wants_answer: true })
        } else if line.trim_ascii().is_empty() {
            Ok(None)
        } else {
            drive.take(line.trim_ascii())
        };
        match taken {
            Ok(None) => {}
            Ok(Some(answer)) => {
                serde_json::to_writer(&mut output, &answer)?;
                output.write_all(b"\n")?;
            }
            Err(Refused { error, wants_answer }) => {
                refused += 1;
                let error = format!("line {number}: {error}");
                eprintln!("error: {error}");
                if wants_answer {
                    writeln!(output, "{}", serde_json::json!({ "error": error }))?;
                }
            }
        }
    }
    output.flush()?;
    Ok(refused)
}
