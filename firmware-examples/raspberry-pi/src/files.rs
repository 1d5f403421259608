//! Which images the command line names.

use std::path::{Path, PathBuf};

/// Ends of the names of images in a folder.
const ENDS: [&str; 3] = ["png", "jpg", "jpeg"];

/// The files among `paths`, in their order, and for each folder the images in it and in all folders inside, in the
/// order of their names.
///
/// # Errors
/// A folder cannot be read or has no image.
pub(crate) fn images(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut images = Vec::new();
    for path in paths {
        if !path.is_dir() {
            images.push(path.clone());
            continue;
        }
        let before = images.len();
        walk(path, &mut images)?;
        if images.len() == before {
            return Err(format!("{}: the folder has no PNG or JPEG files", path.display()));
        }
    }
    Ok(images)
}

fn walk(folder: &Path, images: &mut Vec<PathBuf>) -> Result<(), String> {
    let named = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(named)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(named)?;
    paths.sort();
    for path in paths {
        // A link to a folder may lead back here.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, images)?;
        } else if path.extension().is_some_and(|end| ENDS.iter().any(|known| end.eq_ignore_ascii_case(known))) {
            images.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_their_images_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("b/deep")).unwrap();
        std::fs::create_dir_all(at("empty")).unwrap();
        for name in ["c.JPG", "a.png", "notes.txt", "b/deep/z.jpeg", "b/y.png"] {
            std::fs::write(at(name), b"").unwrap();
        }
        let found = images(&[at("notes.txt"), folder.path().to_path_buf()]).unwrap();
        assert_eq!(found, ["notes.txt", "a.png", "b/deep/z.jpeg", "b/y.png", "c.JPG"].map(at));
        let error = images(&[at("a.png"), at("empty")]).unwrap_err();
        assert!(error.ends_with("empty: the folder has no PNG or JPEG files"), "{error}");
    }
}
