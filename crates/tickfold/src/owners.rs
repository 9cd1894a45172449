//! The owners of the partitions, as they wrote themselves beside their positions in the log.

use std::sync::Arc;

use tickfold_log::Log;
use tickfold_processor::Token;
use tickfold_query::Owners;

use crate::raw_topic::RawTopic;

/// Reads the owners' addresses.
pub(crate) fn owners(log: &Arc<dyn Log>, group: &str, raw: &RawTopic) -> Owners {
    let (log, group, raw) = (Arc::clone(log), group.to_owned(), raw.name.clone());
    Owners::new(move || {
        let (log, group, raw) = (Arc::clone(&log), group.clone(), raw.clone());
        Box::pin(async move {
            let tokens = tokens(log.as_ref(), &group, &raw).await.ok()?;
            let address = |token: Token| token.address.as_str().to_owned();
            Some(tokens.into_iter().map(|token| token.map(address)).collect())
        })
    })
}

/// The tokens of all partitions; `None` for one without a position of ours.
pub(crate) async fn tokens(
    log: &dyn Log,
    group: &str,
    raw: &str,
) -> Result<Vec<Option<Token>>, tickfold_log::Error> {
    let positions = log.positions(group, raw).await?;
    let token = |at: tickfold_log::Committed| Token::parse(&at.metadata).ok();
    Ok(positions.into_iter().map(|at| at.and_then(token)).collect())
}
