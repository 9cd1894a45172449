//! `tickfold sign`: the signature that Meta would put on a body.

use std::io::Read as _;

use anyhow::{Context, Result};
use tickfold_core::signature::{SIGNATURE_HEADER, sign};

use crate::secrets;

/// Signs standard input, byte for byte.
pub(crate) fn run(only_value: bool) -> Result<String> {
    let secret = secrets::require(
        "TICKFOLD_APP_SECRET",
        "the app secret of the Meta app",
        crate::environment,
    )?;
    let mut body = Vec::new();
    std::io::stdin().lock().read_to_end(&mut body).context("read the body from standard input")?;
    let value = sign(secret.as_bytes(), &body);
    Ok(if only_value { format!("{value}\n") } else { format!("{SIGNATURE_HEADER}: {value}\n") })
}
