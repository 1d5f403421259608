//! Weights in files beside the model.
//!
//! A model names such a file by a path relative to its own folder. The path is the stranger's: it may not leave the
//! folder, neither by its words nor by links.

use super::constants::{element_bytes, is_external, sizes};
use crate::ImportError;
use crate::proto::{DataLocation, DataType, ModelProto, TensorProto};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Reads an ONNX file, and moves into it what it keeps in files of its folder.
///
/// # Errors
/// [`ImportError::File`] where a file cannot be read, [`ImportError::Malformed`] where the bytes are no ONNX model,
/// [`ImportError::Initializer`] where a tensor's file is outside the folder or does not hold what the model says.
pub fn load(path: &Path) -> Result<ModelProto, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::File { path: path.into(), source })?;
    let mut model = ModelProto::from_bytes(&bytes)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut folder = Folder { path: parent.unwrap_or(Path::new(".")).into(), files: HashMap::new() };
    let Some(graph) = &mut model.graph else { return Ok(model) };
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute).filter_map(|a| a.t.as_mut());
    for tensor in graph.initializer.iter_mut().chain(attributes).filter(|tensor| is_external(tensor)) {
        let raw =
            folder.read(tensor).map_err(|reason| ImportError::Initializer { name: tensor.name.clone(), reason })?;
        tensor.raw_data = Some(raw);
        tensor.external_data.clear();
        tensor.data_location = DataLocation::Default.into();
    }
    Ok(model)
}

/// The model's folder and the files of it that were opened, with their sizes.
struct Folder {
    path: PathBuf,
    files: HashMap<String, (File, u64)>,
}

impl Folder {
    /// The bytes of a tensor's elements.
    fn read(&mut self, tensor: &TensorProto) -> Result<Vec<u8>, String> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| {
            let parse = |text: &str| text.parse::<u64>().map_err(|_| format!("`{key}` of its file is `{text}`"));
            entry(key).map(parse).transpose()
        };
        let location = entry("location").ok_or("its elements lie in another file, which is not named")?.to_owned();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let kind = DataType::try_from(tensor.data_type)
            .map_err(|_| format!("elements of unknown type {}", tensor.data_type))?;
        let width = element_bytes(kind).ok_or_else(|| format!("elements of type {kind:?} are not supported"))?;
        let (dims, count) = sizes(tensor)?;
        let needed = count.checked_mul(width).ok_or_else(|| format!("its dimensions {dims:?} are too large"))?;
        if length.is_some_and(|length| length != needed as u64) {
            let length = length.unwrap_or_default();
            return Err(format!("its dimensions {dims:?} need {needed} bytes, `{location}` is said to hold {length}"));
        }
        let (file, size) = self.open(&location)?;
        if offset.checked_add(needed as u64).is_none_or(|end| end > *size) {
            return Err(format!(
                "its dimensions {dims:?} need {needed} bytes from byte {offset} of `{location}`, which has {size}; is \
                 that file complete?"
            ));
        }
        let mut raw = vec![0; needed];
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut raw))
            .map_err(|error| format!("cannot read `{location}`: {error}"))?;
        Ok(raw)
    }

    fn open(&mut self, location: &str) -> Result<&mut (File, u64), String> {
        if !self.files.contains_key(location) {
            let file = self.find(location)?;
            self.files.insert(location.to_owned(), file);
        }
        self.files.get_mut(location).ok_or_else(|| unreachable!("inserted above"))
    }

    /// Opens a file that lies in the folder or below.
    fn find(&self, location: &str) -> Result<(File, u64), String> {
        let path = Path::new(location);
        let below = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
        let outside = || format!("its file `{location}` is not in the model's folder, which is refused");
        if location.is_empty() || !path.components().all(below) {
            return Err(outside());
        }
        let fail = |error: std::io::Error| format!("cannot read its file `{location}` beside the model: {error}");
        let folder = self.path.canonicalize().map_err(fail)?;
        let path = folder.join(path).canonicalize().map_err(fail)?;
        if !path.starts_with(&folder) {
            return Err(outside());
        }
        let metadata = path.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(format!("`{location}` beside the model is no file"));
        }
        Ok((File::open(&path).map_err(fail)?, metadata.len()))
    }
}
