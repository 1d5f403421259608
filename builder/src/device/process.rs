//! Processes with a time limit.

use super::DeviceError;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// Interval at which a process is polled.
const POLL: Duration = Duration::from_millis(10);

/// Runs a process to its end, or ends it after `limit`.
pub(super) fn output(command: &mut Command, limit: Duration) -> Result<Output, DeviceError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| DeviceError::Start { program: program.clone(), source };
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                stop(&mut child);
                return Err(DeviceError::Timeout { program, seconds: limit.as_secs() });
            }
            None => sleep(POLL),
        }
    };
    Ok(Output { status, stdout: stdout.join().unwrap_or_default(), stderr: stderr.join().unwrap_or_default() })
}

/// Reads a stream to its end beside the process, which would otherwise wait for its reader.
fn drain(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all there is.
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        bytes
    })
}

fn stop(child: &mut Child) {
    // It may have ended by itself by now.
    let _ = child.kill();
    let _ = child.wait();
}

/// The first error that a compiler or Cargo tells, with the last of its causes, and what to do where a download failed.
pub(super) fn first_error(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let is_error = |line: &&str| line.starts_with("error");
    let line = text.lines().find(is_error).or_else(|| text.lines().last()).unwrap_or("no message");
    let mut reason = line.trim_start_matches("error: ").to_owned();
    if let Some((_, cause)) = text.rsplit_once("Caused by:") {
        let cause = cause.trim_start().lines().next().unwrap_or_default();
        reason = format!("{reason}: {cause}");
    }
    if text.contains("failed to download") {
        reason.push_str(
            "; the first build downloads crates, so connect this computer once: later builds need no network",
        );
    }
    reason
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn output_is_read_to_its_end() {
        let script = "head -c 300000 /dev/zero; echo oops >&2; exit 3";
        let output = output(Command::new("sh").args(["-c", script]), Duration::from_secs(20)).unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.as_slice(), output.status.code()),
            (300_000, &b"oops\n"[..], Some(3))
        );
    }

    #[test]
    fn a_process_that_hangs_is_stopped() {
        let start = Instant::now();
        let error = output(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, DeviceError::Timeout { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn an_error_has_its_last_cause() {
        let reason = |stderr: &str| {
            let script = format!("printf '%s' '{stderr}' >&2; exit 101");
            first_error(&output(Command::new("sh").args(["-c", &script]), Duration::from_secs(20)).unwrap())
        };
        assert_eq!(
            reason("warning: unused\nerror[E0308]: mismatched types\nerror: aborting"),
            "error[E0308]: mismatched types"
        );
        let offline = reason(
            "error: failed to get `half`\n\nCaused by:\n  failed to download from `https://x`\n\nCaused by:\n  \
             [6] Could not resolve hostname\n",
        );
        assert!(
            offline.starts_with("failed to get `half`: [6] Could not resolve hostname; the first build"),
            "{offline}"
        );
        assert_eq!(reason("killed"), "killed");
    }

    #[test]
    fn an_absent_program_is_named() {
        let error = output(&mut Command::new("skipstone-absent"), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().starts_with("cannot run skipstone-absent: "), "{error}");
    }
}
