//! Parses the output of the programs of `firmware-examples`.

use super::{Device, DeviceError, DeviceRun};
use std::process::Output;

/// The first line of a program, with the version of the lines.
const FIRST: &str = "skipstone-device 2";

/// A program's output: its results, and measurements beside them.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) run: DeviceRun,
    pub(super) stack_bytes: u64,
    /// Instructions of each node, from a program that counts them.
    pub(super) layers: Vec<u64>,
}

/// Reads the lines of a program that classified `images` images.
pub(super) fn parse(device: Device, output: &Output, images: usize) -> Result<Told, DeviceError> {
    let text = String::from_utf8_lossy(&output.stdout);
    let device = device.name();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().chain(text.lines()).rfind(|line| !line.is_empty());
        let reason = last
            .map_or("it said nothing", |line| line.trim_start_matches("error: ").trim_start_matches("error "))
            .to_owned();
        return Err(DeviceError::Program { device, reason });
    }
    parse_text(&text, images).map_err(|(line, reason)| DeviceError::Line { device, line: line.into(), reason })
}

/// Reads the lines of a program that ran test vectors: it fails where one differs.
pub(super) fn parse_self_test(device: Device, output: &Output) -> Result<Vec<Result<(), String>>, DeviceError> {
    let text = String::from_utf8_lossy(&output.stdout);
    let device = device.name();
    let (verdicts, last) = self_test(&text);
    let passed = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
    let word = if passed == verdicts.len() { "PASS" } else { "FAIL" };
    let whole = last == format!("{word} {passed} of {}", verdicts.len()) && !verdicts.is_empty();
    if whole && output.status.success() == (word == "PASS") {
        return Ok(verdicts);
    }
    Err(DeviceError::Program { device, reason: last.trim_start_matches("error ").to_owned() })
}

/// The verdicts on the vectors, and the last line.
fn self_test(text: &str) -> (Vec<Result<(), String>>, &str) {
    let mut verdicts = Vec::new();
    for line in text.lines() {
        let Some(verdict) = line.strip_prefix(&format!("vector {} ", verdicts.len())) else { continue };
        match verdict.strip_prefix("FAIL ") {
            Some(what) => verdicts.push(Err(what.to_owned())),
            None if verdict == "PASS" => verdicts.push(Ok(())),
            None => break,
        }
    }
    (verdicts, text.lines().last().unwrap_or("it said nothing"))
}

fn parse_text(text: &str, images: usize) -> Result<Told, (&str, &'static str)> {
    let mut layers = Vec::new();
    let mut run = DeviceRun {
        labels: Vec::new(),
        scores: Vec::new(),
        layer_checksums: Vec::new(),
        instructions_to_load: None,
        instructions_per_inference: None,
        flash_bytes: None,
        ram_bytes: None,
        arena_bytes: 0,
        stack_bytes: None,
        backend: String::new(),
        kernels: Vec::new(),
    };
    let mut stack_bytes = 0;
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if first != FIRST {
        return Err((first, "the first line must be \"skipstone-device 2\""));
    }
    let mut done = false;
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        let read = match words.as_slice() {
            ["backend", name, "kernels", kernels] => {
                run.backend = (*name).to_owned();
                run.kernels = kernels.split(',').map(str::to_owned).collect();
                Some(())
            }
            ["loading", count] => count.parse().ok().map(|count| run.instructions_to_load = Some(count)),
            ["instructions", count] => count.parse().ok().map(|count| run.instructions_per_inference = Some(count)),
            ["layer", index, "instructions", count] if number(index) == Some(layers.len() as u64) => {
                number(count).map(|count| layers.push(count))
            }
            ["memory", "arena", arena, "stack", stack] => number(arena).zip(number(stack)).map(|(arena, stack)| {
                run.arena_bytes = arena;
                stack_bytes = stack;
            }),
            ["image", index, "label", label, "scores", scores, "layers", layers] => {
                image(&mut run, index, label, scores, layers)
            }
            ["done", count] => {
                done = true;
                (number(count) == Some(images as u64) && run.labels.len() == images).then_some(())
            }
            _ => return Err((line, "no such line is known")),
        };
        read.ok_or((line, "its values do not fit"))?;
    }
    if !done || run.backend.is_empty() {
        return Err((text.lines().last().unwrap_or_default(), "lines are missing after it"));
    }
    Ok(Told { run, stack_bytes, layers })
}

fn image(run: &mut DeviceRun, index: &str, label: &str, scores: &str, layers: &str) -> Option<()> {
    let scores = scores.split(',').map(|score| score.parse().ok()).collect::<Option<Vec<i8>>>()?;
    let layers = layers.split(',').map(|layer| u32::from_str_radix(layer, 16).ok()).collect::<Option<_>>()?;
    let label = label.parse().ok().filter(|&label: &usize| label < scores.len())?;
    if number(index) != Some(run.labels.len() as u64) {
        return None;
    }
    run.labels.push(label);
    run.scores.push(scores);
    run.layer_checksums.push(layers);
    Some(())
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "skipstone-device 2\nbackend cortex_m kernels conv_2x3_smlad\nloading 90\n\
                        instructions 1200\n\
                        memory arena 640 stack 320\nlayer 0 instructions 70\nlayer 1 instructions 9\nimage 0 label 1 scores -4,7 layers 0badf00d,00000001\ndone 1\n";

    #[test]
    fn lines_become_a_run() {
        let told = parse_text(GOOD, 1).unwrap();
        assert_eq!((told.stack_bytes, told.run.arena_bytes), (320, 640));
        assert_eq!((told.run.labels, told.run.scores), (vec![1], vec![vec![-4, 7]]));
        assert_eq!(told.layers, [70, 9]);
        assert_eq!(told.run.layer_checksums, [[0x0bad_f00d, 1]]);
        assert_eq!((told.run.backend.as_str(), told.run.instructions_per_inference), ("cortex_m", Some(1200)));
        assert_eq!(told.run.instructions_to_load, Some(90));
    }

    #[test]
    fn damaged_lines_are_named() {
        for (from, to, line) in [
            ("skipstone-device 2", "skipstone-device 1", "skipstone-device 1"),
            ("label 1", "label 2", "image 0 label 2 scores -4,7 layers 0badf00d,00000001"),
            ("image 0", "image 1", "image 1 label 1 scores -4,7 layers 0badf00d,00000001"),
            ("-4,7", "-4,700", "image 0 label 1 scores -4,700 layers 0badf00d,00000001"),
            ("done 1", "done 2", "done 2"),
            ("layer 1", "layer 2", "layer 2 instructions 9"),
            ("layer 0 instructions 70", "layer 0 instructions x", "layer 0 instructions x"),
            ("done 1\n", "", "image 0 label 1 scores -4,7 layers 0badf00d,00000001"),
            ("memory", "memories", "memories arena 640 stack 320"),
        ] {
            let text = GOOD.replace(from, to);
            assert_eq!(parse_text(&text, 1).unwrap_err().0, line);
        }
    }
}
