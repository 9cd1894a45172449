//! The commit token: what is kept as text beside the group's position in every commit.
//!
//! It lets the next owner of a partition prove, before it writes anything, that the position is
//! ours, that the raw log is the one that was folded, and that its own state is the state behind
//! that position. It also carries the owner's address, so routing needs no registry.
//!
//! The format is fixed for ever by its first field; another format gets another first field.

use std::fmt;

use tickfold_core::overlay::Head;
use tickfold_core::time::Timestamp;

/// The first field of every token of this format.
const FORMAT: &str = "tf2";

/// The first field of the token of a swap, which has one field more.
const FORMAT_OF_SWAP: &str = "tf3";

/// What is committed beside a position. See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Fold version of the owner.
    pub fold_version: u32,
    /// Log time and rules version at the position.
    pub head: Head,
    /// Partition count of the raw topic.
    pub partition_count: u32,
    /// Digest of the state at the position.
    pub digest: u128,
    /// Digest of the raw records below the position, as the log sums it, from the first one that was
    /// folded on.
    pub raw_digest: u128,
    /// CRC of the last raw record below the position; 0 if there is none.
    pub crc: u32,
    /// Of the commit by which another store took the place of the owner's: which of its swaps it was, as
    /// far as a byte tells them apart.
    pub swap: Option<u8>,
    /// Where the owner answers queries.
    pub address: Address,
}

/// An address that fits into a token: printable ASCII without `;`, at most
/// [`Address::BYTES_MAX`] bytes, possibly empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Address(String);

/// The text cannot be an owner's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("owner address {0:?} is not printable ASCII without ';' of at most {max} bytes", max = Address::BYTES_MAX)]
pub struct AddressError(String);

/// The text beside a position was not written by this format of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("metadata is no token of format {FORMAT}")]
pub struct NotOurs;

impl Address {
    /// Bytes an address may have, so that a token stays below 300.
    pub const BYTES_MAX: usize = 144;

    /// Checks the text.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let fits = text.len() <= Self::BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        if fits { Ok(Self(text.to_owned())) } else { Err(AddressError(text.to_owned())) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fold_version, head, partition_count, digest, raw_digest, crc, swap, address } =
            self;
        let format = if swap.is_some() { FORMAT_OF_SWAP } else { FORMAT };
        write!(f, "{format};f={fold_version};r={};p={partition_count};l=", head.rules_version)?;
        if let Some(log_time) = head.log_time {
            write!(f, "{}", log_time.as_millis())?;
        }
        write!(f, ";d={digest:032x};w={raw_digest:032x};c={crc:08x}")?;
        if let Some(swap) = swap {
            write!(f, ";s={swap}")?;
        }
        write!(f, ";a={}", address.0)
    }
}

impl Token {
    /// Reads what [`Display`](fmt::Display) writes, and nothing else: no two texts are one token.
    pub fn parse(text: &str) -> Result<Self, NotOurs> {
        let token = Self::parse_fields(text).ok_or(NotOurs)?;
        // Leading zeros, signs and upper-case digits parse but are not ours.
        if token.to_string() == text { Ok(token) } else { Err(NotOurs) }
    }

    fn parse_fields(text: &str) -> Option<Self> {
        let mut fields = text.split(';');
        let is_swap = match fields.next() {
            Some(FORMAT) => false,
            Some(FORMAT_OF_SWAP) => true,
            Some(_) | None => return None,
        };
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
        let fold_version = field("f=")?.parse().ok()?;
        let rules_version = field("r=")?.parse().ok()?;
        let partition_count = field("p=")?.parse().ok()?;
        let log_time = match field("l=")? {
            "" => None,
            millis => Some(Timestamp::from_millis(millis.parse().ok()?)),
        };
        let digest = u128::from_str_radix(field("d=")?, 16).ok()?;
        let raw_digest = u128::from_str_radix(field("w=")?, 16).ok()?;
        let crc = u32::from_str_radix(field("c=")?, 16).ok()?;
        let swap = if is_swap { Some(field("s=")?.parse().ok()?) } else { None };
        let address = Address::parse(field("a=")?).ok()?;
        let head = Head { log_time, rules_version };
        Some(Self { fold_version, head, partition_count, digest, raw_digest, crc, swap, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            fold_version: 1,
            head: Head {
                log_time: Some(Timestamp::from_millis(1_795_132_800_123)),
                rules_version: 7,
            },
            partition_count: 8,
            digest: 0xab,
            raw_digest: 0xcd,
            crc: 0x1f,
            swap: None,
            address: Address::parse("http://10.0.0.1:50051").unwrap(),
        }
    }

    #[test]
    fn the_text_is_fixed() {
        let text = "tf2;f=1;r=7;p=8;l=1795132800123;d=000000000000000000000000000000ab;\
                    w=000000000000000000000000000000cd;c=0000001f;a=http://10.0.0.1:50051";
        assert_eq!(token().to_string(), text);
        assert_eq!(Token::parse(text), Ok(token()));
        assert_eq!(token().address.as_str(), "http://10.0.0.1:50051");
        let swap = Token { swap: Some(4), ..token() };
        let text = text.replace("tf2", "tf3").replace(";a=", ";s=4;a=");
        assert_eq!(swap.to_string(), text);
        assert_eq!(Token::parse(&text), Ok(swap));
    }

    #[test]
    fn every_value_comes_back_and_stays_below_300_bytes() {
        for head in [
            Head { log_time: None, rules_version: 0 },
            Head { log_time: Some(Timestamp::from_millis(i64::MIN)), rules_version: u32::MAX },
        ] {
            let address = Address::parse(&"a".repeat(Address::BYTES_MAX)).unwrap();
            let wide = Token {
                fold_version: u32::MAX,
                head,
                partition_count: u32::MAX,
                digest: u128::MAX,
                raw_digest: u128::MAX,
                crc: u32::MAX,
                swap: Some(u8::MAX),
                address,
            };
            let text = wide.to_string();
            assert!(text.len() < 300 && text.is_ascii(), "{} bytes", text.len());
            assert_eq!(Token::parse(&text), Ok(wide));
        }
        let empty = Token { address: Address::default(), ..token() };
        assert_eq!(Token::parse(&empty.to_string()), Ok(empty));
    }

    #[test]
    fn foreign_text_is_not_ours() {
        let good = token().to_string();
        let mut foreign = vec![
            String::new(),
            "NaN".to_owned(),
            "tf2".to_owned(),
            "tf3;f=1".to_owned(),
            good.replace("tf2", "tf1"),
            good.replace("tf2", "tf3"),
            good.replace(";a=", ";s=1;a="),
            good.replace("tf2", "tf3").replace(";a=", ";s=256;a="),
            good.replace("f=1", "f=01"),
            good.replace("f=1", "f=+1"),
            good.replace("f=1", "f=-1"),
            good.replace("f=1", "f=99999999999"),
            good.replace("c=0000001f", "c=0000001F"),
            good.replace("c=0000001f", "c=1f"),
            good.replace(";d=", ";D="),
            good.replace(";w=", ";d="),
            good.replace("w=000000000000000000000000000000cd;", ""),
            format!("{good};b=1"),
            format!(" {good}"),
            format!("{good} "),
            "tf2;f=é;r=1".to_owned(),
        ];
        // Every prefix that cuts into a field before the address.
        let address = good.find(";a=").unwrap();
        foreign.extend((0..address + 2).map(|end| good[..end].to_owned()));
        for text in foreign {
            assert_eq!(Token::parse(&text), Err(NotOurs), "{text:?}");
        }
    }

    #[test]
    fn one_changed_byte_never_panics_and_never_reads_as_the_same_token() {
        let good = token().to_string();
        for at in 0..good.len() {
            for byte in 0_u8..=127 {
                let mut bytes = good.clone().into_bytes();
                if std::mem::replace(&mut bytes[at], byte) == byte {
                    continue;
                }
                let text = String::from_utf8(bytes).unwrap();
                assert_ne!(Token::parse(&text), Ok(token()), "{text:?}");
            }
        }
    }

    #[test]
    fn addresses_that_would_break_the_token_are_refused() {
        for bad in ["a;b", "a b", "é", "a\n", &"a".repeat(Address::BYTES_MAX + 1)] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }
}
