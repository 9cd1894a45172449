//! Filters of templates, accounts and numbers: another way to write the arguments of their lists,
//! each of which is an index or looked at by the list itself.

use super::{Comparison, Field, Kind, Operator, Value, parse};
use crate::reasons::Failure;

/// Puts what a filter says into the arguments that it names. Each is said once, in one way.
pub(in crate::query) fn entities(
    filter: &str,
    arguments: &mut [(&'static str, &mut String)],
) -> Result<(), Failure> {
    let field = |(of, (name, _)): (usize, &(&'static str, &mut String))| Field {
        of,
        name,
        kind: Kind::Text,
        operators: &[Operator::Equal],
    };
    let fields: Vec<_> = arguments.iter().enumerate().map(field).collect();
    for comparison in parse(filter, &fields)? {
        let Comparison { of, value: Value::Text(text), .. } = &comparison else { continue };
        let Some((_, argument)) = arguments.get_mut(*of) else { continue };
        if !argument.is_empty() {
            let what = "names what is asked for already";
            return Err(comparison.refused(what, "each field once, here or as an argument"));
        }
        argument.clone_from(text);
    }
    Ok(())
}
