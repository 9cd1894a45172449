//! Where something stands in a body.

use std::fmt;

/// A JSON path, written out only where it is told: every item has one, and almost none is told.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The body.
    Root,
    /// A member of what stands at a path.
    Member(&'a Path<'a>, &'a str),
    /// An element of it.
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("$"),
            Self::Member(of, name) => write!(f, "{of}.{name}"),
            Self::Element(of, index) => write!(f, "{of}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_from_the_root() {
        let entries = Path::Member(&Path::Root, "entry");
        let entry = Path::Element(&entries, 3);
        assert_eq!(Path::Member(&entry, "changes").to_string(), "$.entry[3].changes");
        assert_eq!(Path::Root.to_string(), "$");
    }
}
