//! The C header of `c/`.

use std::path::Path;

/// The header's text.
pub(crate) fn generate(root: &Path) -> Result<Vec<u8>, String> {
    let folder = root.join("c");
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml"))?;
    let builder = cbindgen::Builder::new().with_config(config).with_src(folder.join("src/lib.rs"));
    let mut header = Vec::new();
    builder.generate().map_err(|e| e.to_string())?.write(&mut header);
    let header = String::from_utf8(header).map_err(|e| e.to_string())?;
    Ok(header.replace(" # Safety\n", " Safety:\n").into_bytes())
}
