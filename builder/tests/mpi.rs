//! Training by several processes, as a user starts it: `mpirun -n N skipstone train ...`.

use rustix::process::{Pid, Signal, kill_process};
use safetensors::SafeTensors;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `skipstone train` on the digits by `processes` of one thread each, on however few cores.
fn launch(processes: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["-n", &processes.to_string(), "--oversubscribe", "--bind-to", "none"]);
    // Processes that wait leave the cores to others.
    command.env("OMPI_MCA_mpi_yield_when_idle", "1");
    // Containers run as root.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.arg(env!("CARGO_BIN_EXE_skipstone")).args(["train", "--threads", "1"]).args(arguments);
    command.stdin(Stdio::null());
    command
}

fn run(processes: usize, arguments: &[&str]) -> Output {
    launch(processes, arguments).output().expect("mpirun starts")
}

fn trains(processes: usize, arguments: &[&str]) -> String {
    let output = run(processes, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{processes} processes, {arguments:?}: {errors}");
    errors.into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}

const DIGITS: [&str; 4] = ["--arch", "resnet8", "--data", "digits"];

/// What a run ends with: its history without the seconds, the tensors of its state, the best network.
fn results(run: &Path) -> (Vec<String>, Vec<u8>, Vec<u8>) {
    let history = std::fs::read_to_string(run.join("history.csv")).expect("a history");
    let history = history.lines().map(|line| line.rsplit_once(',').expect("columns").0.to_string());
    let last = std::fs::read(run.join("last.safetensors")).expect("a state");
    let (header, _) = SafeTensors::read_metadata(&last).expect("a state of tensors");
    let model = import(&run.join("model.onnx"));
    (history.collect(), last[8 + header..].to_vec(), model)
}

/// The weights of a network, without the command that made it.
fn import(file: &Path) -> Vec<u8> {
    let bytes = std::fs::read(file).expect("a network");
    let graph = skipstone_onnx::import::import(&bytes).expect("a network");
    graph.parameters().flat_map(|(_, _, p)| p.tensor.data().iter().flat_map(|x| x.to_le_bytes())).collect()
}

fn lines_with<'t>(text: &'t str, part: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.contains(part)).collect()
}

#[test]
fn processes_end_with_the_bytes_of_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let train = |processes: usize, sync: &[&str]| {
        let out = folder.path().join(format!("{processes}{}", sync.len()));
        let arguments = [&DIGITS[..], &["--epochs", "2", "--out", text(&out)], sync].concat();
        let spoken = trains(processes, &arguments);
        assert_eq!(lines_with(&spoken, "epoch ").len(), 2, "the first process alone speaks: {spoken}");
        results(&out)
    };
    let one = train(1, &["--sync-bn"]);
    for processes in [2, 4] {
        assert!(train(processes, &["--sync-bn"]) == one, "{processes} processes");
    }
    let apart = train(2, &[]);
    assert!(apart != one && apart.0.len() == one.0.len());
}

/// The process with rank 1 of those that train in `out`.
fn second_process(out: &Path) -> Option<Pid> {
    std::fs::read_dir("/proc").expect("/proc").flatten().find_map(|entry| {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let holds = |bytes: Vec<u8>, part: &str| bytes.split(|&b| b == 0).any(|word| word == part.as_bytes());
        let is_it = holds(read("cmdline"), text(out)) && holds(read("environ"), "OMPI_COMM_WORLD_RANK=1");
        is_it.then(|| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).flatten()
    })
}

#[test]
fn a_killed_process_ends_the_run_and_it_resumes() {
    let folder = tempfile::tempdir().expect("a folder");
    let [straight, killed] = ["straight", "killed"].map(|name| folder.path().join(name));
    let start = |out| [&DIGITS[..], &["--epochs", "8", "--sync-bn", "--out", text(out)]].concat();
    let mut command = launch(2, &start(&killed));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("mpirun starts");
    let since = Instant::now();
    let epochs = || std::fs::read_to_string(killed.join("history.csv")).map_or(0, |text| text.lines().count());
    while epochs() < 3 {
        assert!(since.elapsed() < Duration::from_secs(120), "no epoch was finished");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(second_process(&killed).expect("two processes"), Signal::KILL).expect("the process is there");
    let output = child.wait_with_output().expect("mpirun ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && epochs() < 9, "{errors}");
    let lines = lines_with(&errors, "rank 1");
    assert!(lines.len() == 1 && lines[0].contains("exited on signal 9"), "{errors}");
    assert_eq!(second_process(&killed), None);

    trains(2, &["--resume", "--out", text(&killed)]);
    trains(2, &start(&straight));
    assert!(results(&killed) == results(&straight));
}

#[test]
fn failures_are_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let fails = |processes: usize, arguments: &[&str], reason: &str| {
        let output = run(processes, &[&DIGITS[..], arguments, &["--out", text(&out)]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        let lines = lines_with(&errors, "error:");
        assert!(!output.status.success() && lines.len() == 1 && lines[0].contains(reason), "{errors}");
    };
    fails(3, &[], "a batch of 32 images cannot be shared equally by 3 processes");
    fails(2, &["--lr", "-1"], "`lr` is -1");
    fails(2, &["--lr", "1e30"], "training diverged in epoch 1");
    fails(2, &["--lr", "0.1"], "holds a run already");
}
