//! A look at the framing of RocksDB's WALs and manifest, before RocksDB looks.
//!
//! RocksDB 11.8 never returns from opening when a record in the middle of one of these files has a
//! record type of recycled logs: its reader reports the record as bad without stepping over it,
//! and reads it again (`db/log_reader.cc`, `ReadPhysicalRecord`, "A recycled log should have
//! started with a recycled record"). One flipped bit in the type of a record is enough. This log
//! never recycles files, so such a type is damage, and it is said here instead of hanging.
//!
//! The walk follows the reader exactly, so that it meets the records the reader would meet and no
//! other bytes: blocks of 32 KiB; in each, records of CRC u32, length u16, type u8 (little-endian)
//! and content; after a record that does not fit or whose CRC does not match, the next block.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;

/// The first record that RocksDB must not be shown, if there is one: its file and its place.
pub(super) fn first_trap(db_dir: &Path) -> io::Result<Option<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(db_dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            files.push(path);
        }
    }
    files.sort();
    // An unreadable CURRENT is for RocksDB to refuse, which it does.
    let current = fs::read_to_string(db_dir.join("CURRENT")).unwrap_or_default();
    let manifest = db_dir.join(current.trim_end());
    files.extend(manifest.is_file().then_some(manifest));
    for path in files {
        if let Some(place) = trap_in(File::open(&path)?)? {
            return Ok(Some((path, place)));
        }
    }
    Ok(None)
}

pub(super) fn trap_in(mut file: impl Read) -> io::Result<Option<u64>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut begins = 0;
    loop {
        block.clear();
        file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if let Some(place) = trap_in_block(&block) {
            return Ok(Some(begins + place as u64));
        }
        if block.len() < BLOCK_BYTES {
            return Ok(None);
        }
        begins += BLOCK_BYTES as u64;
    }
}

fn trap_in_block(block: &[u8]) -> Option<usize> {
    let mut rest = block;
    loop {
        let (header, behind) = rest.split_first_chunk::<HEADER_BYTES>()?;
        let [c0, c1, c2, c3, l0, l1, kind] = *header;
        // Full, first, middle and last of recycled logs; then the two kinds of extra information.
        if matches!(kind, 5..=8 | 11 | 131) {
            return Some(block.len() - rest.len());
        }
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let content = behind.get(..length)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), content);
        if masked(crc) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return None;
        }
        rest = behind.get(length..)?;
    }
}

/// RocksDB stores CRCs rotated and shifted, so that a CRC over data with CRCs inside stays sound.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
