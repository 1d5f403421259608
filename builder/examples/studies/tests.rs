use super::*;
use std::collections::HashMap;
use std::path::Path;

fn arguments(rest: &[&str], out: &Path) -> Arguments {
    let out = out.to_str().expect("temporary folders have names in UTF-8");
    Arguments::parse_from([&["studies", "--data", "digits", "--out", out], rest].concat())
}

/// Parameters and multiply-accumulates of the runs of `study` on CIFAR-10.
fn costs(study: &str) -> Vec<(usize, u64)> {
    let study = studies().into_iter().find(|known| known.name == study).expect(study);
    let cost = |run: &Run| {
        let spec: Spec = "cifar10:x".parse().unwrap();
        let config = (run.change)(Config::new(run.network.name(), &spec));
        config.check().unwrap();
        let graph = run.network.build(10, [3, 32, 32], &config.options(10, [3, 32, 32])).unwrap();
        (graph.parameter_count(), graph.macs())
    };
    study.runs.iter().map(cost).collect()
}

/// The largest of some counts, divided by the smallest.
fn ratio(counts: impl Iterator<Item = u64> + Clone) -> f64 {
    counts.clone().max().unwrap() as f64 / counts.min().unwrap() as f64
}

#[test]
fn comparisons_are_fair() {
    let equal = |counts: &[(usize, u64)]| counts.iter().all(|count| *count == counts[0]);
    let depth = costs("depth");
    assert!(equal(&depth[..2]) && equal(&depth[2..]), "{depth:?}");
    let orders = costs("preactivation");
    assert!(orders.chunks(2).all(|pair| pair[0].1 == pair[1].1), "{orders:?}");
    let attention = costs("attention");
    assert!(equal(&attention[..4]) && equal(&attention[4..]), "{attention:?}");
    let cardinality = costs("cardinality");
    assert!(ratio(cardinality.iter().map(|&(_, macs)| macs)) < 1.05, "{cardinality:?}");
    let dense = costs("dense");
    for residual in &dense[..2] {
        assert!(ratio([residual, &dense[2]].into_iter().map(|&(params, _)| params as u64)) < 1.06, "{dense:?}");
    }
    let rsb = costs("rsb");
    assert!(equal(&rsb), "{rsb:?}");
    assert_eq!(costs("families").len(), 6);
}

#[test]
fn runs_of_one_name_are_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = arguments(&[], folder.path());
    let mut seen: HashMap<&str, Config> = HashMap::new();
    let all = studies();
    for study in &all {
        for run in &study.runs {
            let config = config(run, 0, &arguments);
            assert!(run.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{}", run.name);
            assert_eq!(*seen.entry(run.name).or_insert_with(|| config.clone()), config, "{}", run.name);
        }
    }
    let settings: Vec<Config> = seen.into_values().collect();
    assert!(settings.iter().enumerate().all(|(i, one)| !settings[..i].contains(one)), "two names for one run");
}

#[test]
fn a_study_is_trained_once_and_shown_as_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        ["rsb", "--runs", "resnet8,resnet8-mixup", "--epochs", "2", "--train-images", "96", "--test-images", "50"];
    let arguments = |rest: &[&str]| arguments(&[&options, rest].concat(), folder.path());
    let show = |arguments: &Arguments| {
        let mut tables = Vec::new();
        run(arguments, &mut |table| tables.push(table)).map(|()| tables)
    };
    let tables = show(&arguments(&[])).unwrap();
    assert_eq!(tables.len(), 1);
    let lines: Vec<&str> = tables[0].lines().collect();
    assert!(lines[0].starts_with("`rsb`: What does each ingredient"), "{tables:?}");
    assert!(lines[4].starts_with("| `resnet8` | 77,898 | "), "{tables:?}");
    assert!(lines[5].starts_with("| `resnet8-mixup` | 77,898 | "), "{tables:?}");
    assert!(lines[4].contains(" | 2 | ") && lines[4].contains(" % | "), "{tables:?}");

    // Times would differ if it were trained again.
    let history = || std::fs::read_to_string(folder.path().join("resnet8-mixup/seed-0/history.csv")).unwrap();
    let before = history();
    assert_eq!(before.lines().count(), 3);
    assert_eq!(show(&arguments(&[])).unwrap(), tables);
    assert_eq!(history(), before);

    // A second seed trains beside the first; the table has the mean of both and what lies farthest apart.
    let tables = show(&arguments(&["--seeds", "0,4"])).unwrap();
    assert_eq!(history(), before);
    let accuracies = [0, 4].map(|seed| {
        let path = folder.path().join(format!("resnet8-mixup/seed-{seed}/history.csv"));
        let lines = std::fs::read_to_string(path).unwrap();
        let column = lines.lines().next().unwrap().split(',').position(|name| name == "test_accuracy").unwrap();
        100.0 * lines.lines().last().unwrap().split(',').nth(column).unwrap().parse::<f64>().unwrap()
    });
    let [low, high] = if accuracies[0] < accuracies[1] { accuracies } else { [accuracies[1], accuracies[0]] };
    let mean = f64::midpoint(low, high);
    let cell = format!(" | 2 | {mean:.2} % ({low:.2} to {high:.2}) | ");
    assert!(tables[0].lines().nth(5).unwrap().contains(&cell), "{tables:?}: {cell}");

    // What a run was trained on is not confused.
    let fewer = ["rsb", "--runs", "resnet8", "--epochs", "2", "--train-images", "64"];
    let error = show(&super::tests::arguments(&fewer, folder.path())).unwrap_err().to_string();
    assert!(error.contains("96 images of digits, tested on 50") && error.contains("64 images of digits"), "{error}");
    let batch = folder.path().join("resnet8/seed-0/config.toml");
    assert!(std::fs::read_to_string(batch).unwrap().contains("batch = 32"));
    let error = show(&arguments(&["--batch", "16"])).unwrap_err().to_string();
    assert!(error.contains("`batch` = 32, not 16"), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |rest: &[&str]| run(&arguments(rest, folder.path()), &mut |_| {}).unwrap_err().to_string();
    assert!(error(&["width"]).contains("no study `width`: there are families, depth"));
    assert!(error(&["depth", "--runs", "resnet8"]).contains("no run `resnet8`: there are resnet20, plain20"));
    assert!(error(&["rsb", "--train-images", "5000"]).contains("--train-images is 5000, but the training set has"));
    assert!(error(&["rsb", "--test-images", "365"]).contains("--test-images is 365, but the test set has 364 images"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
