//! Weights beside the model.

use super::{changed_graph, initializer, residual};
use crate::ImportError;
use crate::import::import_file;
use crate::proto::{GraphProto, ModelProto, StringStringEntryProto};
use std::path::Path;

/// Moves a weight's elements into a file after 5 other bytes, under the given location; gives the bytes.
fn move_out(graph: &mut GraphProto, location: &str) -> Vec<u8> {
    let tensor = initializer(graph, "fc.weight");
    let raw = tensor.raw_data.take().unwrap();
    let entry = |key: &str, value: String| StringStringEntryProto::new(key, value);
    tensor.data_location = 1;
    tensor.external_data =
        vec![entry("location", location.into()), entry("offset", "5".into()), entry("length", raw.len().to_string())];
    [vec![9; 5], raw].concat()
}

fn write(folder: &Path, model: &ModelProto) -> std::path::PathBuf {
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.to_bytes()).unwrap();
    path
}

#[test]
fn weights_are_read_from_the_models_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("below")).unwrap();
    for location in ["w.data", "./w.data", "below/w.data"] {
        let mut bytes = Vec::new();
        let model = changed_graph(|graph| bytes = move_out(graph, location));
        std::fs::write(folder.path().join(location), bytes).unwrap();
        assert_eq!(import_file(&write(folder.path(), &model)).unwrap(), residual());
    }
}

#[test]
fn what_the_model_says_of_its_files_is_checked() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("inner");
    std::fs::create_dir(&folder).unwrap();
    let mut bytes = Vec::new();
    let _ = changed_graph(|graph| bytes = move_out(graph, "w.data"));
    std::fs::write(folder.join("w.data"), &bytes).unwrap();
    std::fs::write(outer.path().join("outside.data"), &bytes).unwrap();
    std::fs::write(folder.join("short.data"), &bytes[..20]).unwrap();
    std::fs::create_dir(folder.join("folder.data")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../outside.data", folder.join("link.data")).unwrap();
    let absolute = outer.path().join("outside.data");
    let set = |key: &'static str, value: &'static str| {
        move |graph: &mut GraphProto| {
            let entries = &mut initializer(graph, "fc.weight").external_data;
            entries.retain(|entry| entry.key != key);
            entries.push(StringStringEntryProto::new(key, value));
        }
    };
    type Change = Box<dyn Fn(&mut GraphProto)>;
    let cases: Vec<(&str, Change, &str)> = vec![
        ("../outside.data", Box::new(|_| ()), "not in the model's folder"),
        (absolute.to_str().unwrap(), Box::new(|_| ()), "not in the model's folder"),
        ("", Box::new(|_| ()), "not in the model's folder"),
        #[cfg(unix)]
        ("link.data", Box::new(|_| ()), "not in the model's folder"),
        ("absent.data", Box::new(|_| ()), "cannot read its file `absent.data`"),
        ("folder.data", Box::new(|_| ()), "is no file"),
        ("short.data", Box::new(|_| ()), "need 72 bytes from byte 5 of `short.data`, which has 20"),
        ("w.data", Box::new(set("offset", "6")), "need 72 bytes from byte 6"),
        ("w.data", Box::new(set("offset", "18446744073709551615")), "need 72 bytes"),
        ("w.data", Box::new(set("offset", "-1")), "`offset` of its file is `-1`"),
        ("w.data", Box::new(set("length", "71")), "need 72 bytes, `w.data` is said to hold 71"),
        (
            "w.data",
            Box::new(|graph| initializer(graph, "fc.weight").external_data.retain(|entry| entry.key != "location")),
            "is not named",
        ),
        (
            "w.data",
            Box::new(|graph| {
                let tensor = initializer(graph, "fc.weight");
                tensor.dims = vec![50_000, 50_000];
                tensor.external_data.retain(|entry| entry.key != "length");
            }),
            "need 10000000000 bytes from byte 5 of `w.data`, which has 77",
        ),
        ("w.data", Box::new(|graph| initializer(graph, "fc.weight").dims = vec![i64::MAX; 2]), "too many"),
        ("w.data", Box::new(|graph| initializer(graph, "fc.weight").data_type = 8), "String"),
    ];
    for (location, change, part) in cases {
        let model = changed_graph(|graph| {
            move_out(graph, location);
            change(graph);
        });
        let error = import_file(&write(&folder, &model)).unwrap_err().to_string();
        assert!(error.contains("`fc.weight`") && error.contains(part), "`{location}`: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = import_file(&folder.path().join("no.onnx")).unwrap_err();
    assert!(matches!(error, ImportError::File { .. }) && error.to_string().contains("no.onnx"), "{error}");
}
