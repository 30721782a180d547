//! `portolan serve --detach`: comes back when the server serves, which goes on by itself.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use super::FAILED;

/// What a detached server says on standard output once it serves.
const SERVING: &str = "serving";
/// By which it knows that it is one.
pub const OPTION: &str = "--say-when-serving";

/// Starts a server with the options of this one, and returns when it serves, or has failed.
pub fn run() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: no server can be started: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Says that this server serves.
pub fn say() {
    // Whoever waited for it may have gone.
    let _ = writeln!(io::stdout(), "{SERVING}");
}

fn start() -> io::Result<ExitCode> {
    let options = env::args_os().skip(1).filter(|option| option != "--detach");
    let mut server = Command::new(env::current_exe()?)
        .args(options)
        .arg(OPTION)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // What is typed at a terminal is not meant for it.
        .process_group(0)
        .spawn()?;
    for line in server.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line?;
        if line == SERVING {
            return Ok(ExitCode::SUCCESS);
        }
        let _ = writeln!(io::stdout(), "{line}");
    }
    let code = server.wait()?.code();
    Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)))
}
