//! Sums over the files of a checkpoint, piece by piece, so that damage is found wherever it is and is
//! told with its place.
//!
//! RocksDB checks a block when it reads it. What no read meets, it does not see: filters, indexes,
//! properties, rows that are never asked for. These sums cover every byte of every file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::FileSums;

/// Bytes that one sum is over. Small enough to say where, large enough that sums of a gigabyte are
/// 128 KiB.
const PIECE_BYTES: usize = 64 * 1024;
const PIECE_LENGTH: u64 = 64 * 1024;

/// What differs of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Differs {
    /// It is not there.
    Missing,
    /// It is shorter or longer.
    Size(u64),
    /// A piece of it is not what was written.
    Piece(Range<u64>),
}

/// Reads a file and sums it.
pub(super) fn of_file(path: &Path, name: &str) -> io::Result<FileSums> {
    let mut sums = FileSums { name: name.to_owned(), size_bytes: 0, sums: Vec::new() };
    pieces(path, |piece| {
        sums.size_bytes += length(piece);
        sums.sums.push(xxh3_64(piece));
        true
    })?;
    Ok(sums)
}

/// Compares a file with its sums, up to the first difference.
pub(super) fn compare(path: &Path, sums: &FileSums) -> io::Result<Option<Differs>> {
    let size = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Differs::Missing)),
        metadata => metadata?.len(),
    };
    if size != sums.size_bytes {
        return Ok(Some(Differs::Size(size)));
    }
    let (mut begin, mut known, mut differs) = (0, sums.sums.iter(), None);
    pieces(path, |piece| {
        let end = begin + length(piece);
        if known.next() != Some(&xxh3_64(piece)) {
            differs = Some(Differs::Piece(begin..end));
        }
        begin = end;
        differs.is_none()
    })?;
    Ok(differs)
}

/// Goes through a file until `take` has enough.
fn pieces(path: &Path, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    loop {
        piece.clear();
        Read::by_ref(&mut file).take(PIECE_LENGTH).read_to_end(&mut piece)?;
        if piece.is_empty() || !take(&piece) {
            return Ok(());
        }
    }
}

fn length(piece: &[u8]) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}
