//! The two hashes: murmur2 chooses partitions of the raw topic, SHA-256 names bodies, charges and
//! actions.

use sha2::{Digest, Sha256};

/// SHA-256 of the bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of the bytes in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    text
}

/// 32 hex digits that name several parts together. Each part goes in with its length, so that no
/// two lists of parts run into the same text.
pub fn id_of(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_string());
        hasher.update(":");
        hasher.update(part);
        hasher.update(";");
    }
    let digest: [u8; 32] = hasher.finalize().into();
    hex(digest.get(..16).unwrap_or(&digest))
}

/// MurmurHash2 with the seed that the Java producer's default partitioner uses, so that a Java
/// client that writes or joins by the same key lands in the same partition.
pub fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = word.iter().rev().fold(0_u32, |acc, &byte| (acc << 8) | u32::from(byte));
        let word = word.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0_u32, |acc, &byte| (acc << 8) | u32::from(byte));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the Java client's own test of its hash, as signed 32-bit numbers.
    #[test]
    fn murmur2_equals_java() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, expected) in vectors {
            assert_eq!(murmur2(text.as_bytes()), expected.cast_unsigned(), "{text}");
        }
    }

    #[test]
    fn parts_of_an_id_do_not_run_into_each_other() {
        assert_ne!(id_of(&["ab", "c"]), id_of(&["a", "bc"]));
        assert_ne!(id_of(&["a;1:b"]), id_of(&["a", "b"]));
        assert_eq!(id_of(&["a"]).len(), 32);
    }

    #[test]
    fn sha256_of_nothing() {
        assert!(sha256_hex(b"").starts_with("e3b0c44298fc1c14"));
    }
}
