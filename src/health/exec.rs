//! The exec probe: a program of the operator's decides, by its exit status.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{ExecCheck, ProbeResult};

/// What is kept of what a program says; the rest is read and thrown away.
const MAX_OUTPUT_BYTES: usize = 300;
/// How long a program that was killed may take to be gone.
const UNTIL_GONE: Duration = Duration::from_secs(1);
/// How long its last words are read.
const UNTIL_READ: Duration = Duration::from_millis(100);

/// Runs the program, with the target in its environment (`PORTOLAN_ADDRESS`, `PORTOLAN_PORT`): exit
/// status 0 is good. It and what it has started, as far as that has stayed in its process group, is
/// killed when it ends, when `limit` is over, and when the probe is dropped.
pub async fn probe(target: SocketAddr, check: &ExecCheck, limit: Duration) -> ProbeResult {
    let start = Instant::now();
    let Some((program, arguments)) = check.command.split_first() else {
        return ProbeResult::unable("no command");
    };
    let spawned = Command::new(program)
        .args(arguments)
        .env("PORTOLAN_ADDRESS", target.ip().to_string())
        .env("PORTOLAN_PORT", target.port().to_string())
        // What it might say there is not the server's word.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let run = match spawned.and_then(Run::new) {
        Ok(run) => run,
        Err(error) => return ProbeResult::unable(format_args!("{program} does not run: {error}")),
    };
    match run.end(limit).await {
        Ok(End { status: Some(status), .. }) if status.success() => {
            ProbeResult::Good(start.elapsed())
        }
        Ok(End { status, said }) => {
            let how = status.map_or_else(|| format!("no end within {limit:?}"), |s| s.to_string());
            match said.as_str() {
                "" => ProbeResult::failed(how),
                said => ProbeResult::failed(format_args!("{how}: {said}")),
            }
        }
        Err(error) => ProbeResult::unable(error),
    }
}

/// How a program ended; no status: it was killed, as its time was over.
struct End {
    status: Option<ExitStatus>,
    said: String,
}

/// A program that runs.
struct Run {
    /// The first to be dropped: the group is killed while its leader's id is its own.
    group: Group,
    child: Child,
}

/// A process group, killed on drop.
struct Group(Pid);

impl Run {
    fn new(child: Child) -> io::Result<Run> {
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.ok_or_else(|| io::Error::other("it has no process id"))?;
        Ok(Run { group: Group(id), child })
    }

    /// Waits until the program ends, or kills it; leaves no zombie.
    async fn end(mut self, limit: Duration) -> io::Result<End> {
        let (mut out, mut err) = (Excerpt::default(), Excerpt::default());
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let status = {
            let mut said = pin!(async { tokio::join!(out.read(stdout), err.read(stderr)) });
            let mut is_said = false;
            let ended = timeout(limit, async {
                // What it has started may hold the pipes open: its own end is waited for.
                loop {
                    tokio::select! {
                        status = self.child.wait() => break status,
                        _ = &mut said, if !is_said => is_said = true,
                    }
                }
            });
            let ended = ended.await;
            // Nobody else has got its id in the meantime: ids are given out in turn.
            drop(self.group);
            let status = match ended {
                Ok(status) => Some(status?),
                Err(_) => match timeout(UNTIL_GONE, self.child.wait()).await {
                    Ok(killed) => killed.map(|_| None)?,
                    Err(_) => return Err(io::Error::other("the program cannot be killed")),
                },
            };
            if !is_said {
                // Its last words; who has left the group may hold the pipes open still.
                let _ = timeout(UNTIL_READ, said).await;
            }
            status
        };
        let said = if err.0.is_empty() { out } else { err };
        Ok(End { status, said: said.text() })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It may be gone.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// The beginning of what a program says.
#[derive(Default)]
struct Excerpt(Vec<u8>);

impl Excerpt {
    async fn read(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut piece = [0; 512];
        while let Ok(count @ 1..) = pipe.read(&mut piece).await {
            let room = MAX_OUTPUT_BYTES - self.0.len();
            self.0.extend_from_slice(&piece[..count.min(room)]);
        }
    }

    /// As one line.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let words = text.split(|char: char| char.is_whitespace() || char.is_control());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> ExecCheck {
        ExecCheck { command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec() }
    }

    fn target() -> SocketAddr {
        "[2001:db8::1]:443".parse().unwrap()
    }

    async fn run(script: &str) -> ProbeResult {
        probe(target(), &shell(script), DEADLINE).await
    }

    /// Whether a process is there: not gone, nor a zombie.
    fn lives(id: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        let holds = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(DEADLINE, holds)
            .await
            .unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
    }

    #[tokio::test]
    async fn the_exit_status_decides_and_the_target_stands_in_the_environment() {
        let result = run(r#"[ "$PORTOLAN_ADDRESS $PORTOLAN_PORT" = "2001:db8::1 443" ]"#).await;
        assert!(matches!(result, ProbeResult::Good(_)), "{result}");
        assert_eq!(run("exit 3").await.to_string(), "exit status: 3");
        assert_eq!(run("kill -9 $$").await.to_string(), "signal: 9 (SIGKILL)");
    }

    #[tokio::test]
    async fn its_words_are_the_reason_and_what_is_too_much_is_thrown_away() {
        let result = run("echo ignored; printf 'no\\n  route\\t' >&2; exit 2").await;
        assert_eq!(result.to_string(), "exit status: 2: no route");
        assert_eq!(run("echo here; exit 1").await.to_string(), "exit status: 1: here");
        let result = run("head -c 3000000 /dev/zero | tr '\\0' x; exit 1").await;
        assert!(result.to_string().len() < 2 * MAX_OUTPUT_BYTES, "{result}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_our_fault() {
        let check = ExecCheck { command: vec!["/nonexistent/check".into()] };
        let result = probe(target(), &check, DEADLINE).await;
        assert!(matches!(&result, ProbeResult::Unable(why) if why.contains("/nonexistent/check")));
    }

    #[tokio::test]
    async fn at_the_timeout_it_is_killed_with_its_children_and_leaves_no_zombie() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ids");
        let ids = path.to_str().unwrap();
        let script = format!("sleep 1000 & echo $! $$ > {ids}.new; mv {ids}.new {ids}; wait");
        let limit = Duration::from_secs(2);
        let result = probe(target(), &shell(&script), limit).await;
        assert_eq!(result.to_string(), "no end within 2s");
        let ids = std::fs::read_to_string(ids).expect("it has begun");
        let (child, parent) = ids.trim().split_once(' ').unwrap();
        assert!(!Path::new(&format!("/proc/{parent}")).exists(), "it was reaped");
        until("its child is gone", || !lives(child)).await;
    }

    #[tokio::test]
    async fn what_it_leaves_behind_holds_up_nothing_and_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("id");
        let result = run(&format!("sleep 1000 & echo $! > {}; exit 0", path.display())).await;
        assert!(matches!(result, ProbeResult::Good(_)), "{result}");
        let id = std::fs::read_to_string(path).unwrap();
        until("what it left is gone", || !lives(&id)).await;
    }

    #[tokio::test]
    async fn a_probe_that_is_dropped_takes_its_program_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("id");
        let check =
            shell(&format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 1000", path.display()));
        let probe = tokio::spawn(async move { probe(target(), &check, DEADLINE).await });
        until("it has begun", || path.exists()).await;
        probe.abort();
        assert!(probe.await.is_err());
        let id = std::fs::read_to_string(path).unwrap();
        until("it is gone", || !lives(&id)).await;
    }
}
