use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use mcp_connect_descriptor::{KeySet, MAX_KEY_SET_BYTES};

use crate::config_error::unreadable;

/// Reads a key set to begin with. The error says what is wrong with the file, and shows none of it.
pub(crate) fn read(path: &Path) -> Result<KeySet, String> {
    // A pipe could make us wait for ever.
    if !fs::metadata(path)
        .map_err(|error| unreadable(&error))?
        .is_file()
    {
        return Err("is no file".into());
    }
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut json = Vec::new();
    file.take(MAX_KEY_SET_BYTES as u64 + 1)
        .read_to_end(&mut json)
        .map_err(|error| unreadable(&error))?;
    let keys = KeySet::parse(&json).map_err(|error| format!("can't be used: {error}"))?;
    if keys.is_empty() {
        return Err("has no key that signs descriptors".into());
    }
    Ok(keys)
}
