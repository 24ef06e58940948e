//! Reading the files of a try into an object.

use super::files::{failed, text_path};
use super::lengths::Lengths;
use super::read::blocking;
use super::sealed::{CHUNK, Pieces, pack};
use crate::error::StoreError;
use crate::objects::ObjectWriter;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Writes the texts in `dir`, which nobody changes; says how long they are together, and where which is.
pub(super) async fn pack_try(dir: &Path, writer: &mut ObjectWriter) -> Result<(u64, Pieces), StoreError> {
    let (mut total, mut pieces) = (0, Pieces { chunk: CHUNK as u64, texts: Vec::new() });
    let scanned = dir.to_owned();
    for entry in blocking(move || Ok(Lengths::scan(&scanned)?.entries())).await? {
        let path = text_path(dir, entry);
        let mut file = File::open(&path).map_err(|error| failed(&path, error))?;
        let (mut length, mut chunks) = (0, Vec::new());
        loop {
            let at = path.clone();
            let read = move || {
                let packed = next_chunk(&mut file).map_err(|error| failed(&at, error))?;
                Ok((file, packed))
            };
            let (back, packed) = blocking(read).await?;
            file = back;
            let Some((text, packed)) = packed else { break };
            length += text;
            chunks.push(u32::try_from(packed.len()).unwrap_or(u32::MAX));
            writer.put(packed.into()).await?;
        }
        total += length;
        pieces.texts.push((entry, length, chunks));
    }
    Ok((total, pieces))
}

/// How much text follows up to the end of a chunk, and the chunk; `None` at the end.
fn next_chunk(file: &mut File) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut text = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some((text.len() as u64, pack(&text)?)))
}
