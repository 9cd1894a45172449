//! A bug on purpose, behind eight bytes that nobody guesses: it is found only where coverage guides, and
//! only if what is found is told. `scripts/fuzz.sh` asks for it first.

/// See the module's description.
pub fn check(bytes: &[u8]) {
    let Some(first) = bytes.first_chunk::<8>() else { return };
    let magic = u64::from_le_bytes(*b"tickfold");
    assert!(u64::from_le_bytes(*first) != magic, "the planted bug is found");
}
