//! The manifest of a checkpoint: the one record that is a file of its own.

use prost::Message as _;
use tickfold_proto::store::v1 as proto;

use super::{Damage, FORMAT_VERSION, FORMAT_VERSION_MIN, Persist, with_sum, without_sum};
use crate::StoreHead;

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) partition: u32,
    pub(crate) head: StoreHead,
    /// Every other file, by name.
    pub(crate) files: Vec<FileSums>,
}

/// A file of a checkpoint, and XXH3-64 of each piece of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSums {
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    pub(crate) sums: Vec<u64>,
}

impl Manifest {
    /// Bytes of the file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let record = proto::Manifest {
            format_version: FORMAT_VERSION,
            partition: self.partition,
            head: Some(self.head.to_record()),
            files: self.files.iter().cloned().map(FileSums::into_record).collect(),
        };
        with_sum(record.encode_to_vec())
    }

    /// Reads the file of a checkpoint that this version can restore.
    pub(crate) fn from_file(bytes: &[u8]) -> Result<Self, Damage> {
        let record = without_sum(bytes, "manifest")?;
        let manifest = proto::Manifest::decode(record)?;
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&manifest.format_version) {
            return Err(Damage(format!("format version {}", manifest.format_version)));
        }
        let head = manifest.head.ok_or_else(|| Damage::missing("head"))?;
        let files = manifest.files.into_iter().map(FileSums::from_record).collect();
        Ok(Self { partition: manifest.partition, head: StoreHead::from_record(head)?, files })
    }

    /// Whether it is the manifest of this checkpoint.
    pub(crate) fn is_of(&self, partition: u32, head: StoreHead) -> bool {
        self.partition == partition && self.head == head
    }
}

impl FileSums {
    fn into_record(self) -> proto::ManifestFile {
        let Self { name, size_bytes, sums } = self;
        proto::ManifestFile { name, size_bytes, sums }
    }

    fn from_record(record: proto::ManifestFile) -> Self {
        let proto::ManifestFile { name, size_bytes, sums } = record;
        Self { name, size_bytes, sums }
    }
}
