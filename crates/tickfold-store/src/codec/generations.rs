//! Which stores of a partition there are: a record that is a file of its own.

use prost::Message as _;
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist, with_sum, without_sum};
use crate::StoreHead;

/// The stores of a partition, by number. The first one is 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Generations {
    /// The one that is opened.
    pub(crate) live: u64,
    /// The one before it.
    pub(crate) kept: Option<u64>,
    /// The one that may take its place.
    pub(crate) next: Option<Next>,
    /// How often one was made the next.
    pub(crate) turns: u64,
}

/// A store that is prepared to take the place of the live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) generation: u64,
    /// Where it stands.
    pub(crate) head: StoreHead,
}

impl Generations {
    /// Bytes of the file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let next = self.next.map(|next| proto::NextGeneration {
            generation: next.generation,
            head: Some(next.head.to_record()),
        });
        let Self { live, kept, next: _, turns } = *self;
        with_sum(proto::Generations { live, kept, next, turns }.encode_to_vec())
    }

    /// Reads the file.
    pub(crate) fn from_file(bytes: &[u8]) -> Result<Self, Damage> {
        let record = without_sum(bytes, "list of generations")?;
        let proto::Generations { live, kept, next, turns } = proto::Generations::decode(record)?;
        let next = next.map(|next| {
            let head = next.head.ok_or_else(|| Damage::missing("head"))?;
            Ok::<_, Damage>(Next {
                generation: next.generation,
                head: StoreHead::from_record(head)?,
            })
        });
        Ok(Self { live, kept, next: next.transpose()?, turns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_a_flipped_bit_is_damage() {
        let head = StoreHead { cursor: 9, digest: 7, ..StoreHead::EMPTY };
        let next = Some(Next { generation: 4, head });
        let list = Generations { live: 3, kept: Some(0), next, turns: 2 };
        let bytes = list.to_file();
        assert_eq!(Generations::from_file(&bytes).unwrap(), list);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Generations::from_file(&damaged).is_err(), "byte {at}");
        }
        assert!(Generations::from_file(&[]).is_err());
    }
}
