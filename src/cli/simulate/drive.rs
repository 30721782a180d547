//! `portolan simulate --drive`: lines in, answers out.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use super::settings;
use crate::cli::FAILED;
use crate::simulate::drive::{Drive, Refused};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 16;

/// Answers what comes on standard input.
pub(super) fn run(config: &Path) -> ExitCode {
    let Some(settings) = settings(config) else { return ExitCode::from(FAILED) };
    match follow(Drive::new(settings), io::stdin().lock(), io::stdout().lock()) {
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
