//! Reading secrets and certificates again while the node serves: by SIGHUP and by the admin call.
//!
//! All of it is read and checked before any of it is served, so that a reload changes everything or
//! nothing.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tickfold_ingress::{Apps, Replaced};
use tokio::signal::unix::Signal;
use tokio::sync::Mutex;
use tracing::{error, info};

use crate::{apps, environment, up};

/// What can be read again, and from where.
#[derive(Debug)]
pub(crate) struct Reload {
    pub apps: Apps,
    pub apps_file: Option<PathBuf>,
    /// One reload at a time: two that interleave could serve the older reading.
    pub turn: Mutex<()>,
}

/// What a reload changed.
#[derive(Debug)]
pub(crate) struct Reloaded {
    pub apps: Replaced,
    pub certificates: bool,
}

impl Reload {
    /// Reads, checks and serves; on an error what was served before goes on.
    pub(crate) async fn run(&self) -> Result<Reloaded> {
        let _turn = self.turn.lock().await;
        let apps = apps::read(self.apps_file.as_deref(), environment)?;
        let apps = self.apps.replace(apps, up::now()).context("check apps")?;
        let Replaced { added, removed, kept } = &apps;
        info!(?added, ?removed, ?kept, "secrets reloaded");
        Ok(Reloaded { apps, certificates: false })
    }

    /// Reloads on each SIGHUP, as long as the process can get one.
    pub(crate) async fn on_hangup(&self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            if let Err(failure) = self.run().await {
                let failure = format!("{failure:#}");
                error!(failure, "reload refused, what was served before goes on");
            }
        }
    }
}
