//! What Prometheus is told: with the feature `prometheus`, and nothing without.
//!
//! The verifier's metrics are in docs/verifier.md; the guard adds one.

use crate::fault::Fault;

#[cfg(feature = "prometheus")]
use {
    anyhow::Context as _,
    metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle},
};

#[cfg(feature = "prometheus")]
const FAULTS: &str = "mcp_connect_guard_faults_total";

/// The metrics of this process.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    #[cfg(feature = "prometheus")]
    recorder: PrometheusHandle,
}

impl Metrics {
    /// Begins to count. There is one recorder in a process, so this can be done once.
    #[cfg(feature = "prometheus")]
    pub(crate) fn install() -> anyhow::Result<Self> {
        let recorder = PrometheusBuilder::new()
            .install_recorder()
            .context("metrics are counted by somebody else in this process")?;
        metrics::describe_counter!(
            FAULTS,
            metrics::Unit::Count,
            "Requests answered by the guard itself, by code."
        );
        Ok(Self { recorder })
    }

    #[cfg(not(feature = "prometheus"))]
    #[expect(clippy::unnecessary_wraps, reason = "it may fail with the feature")]
    pub(crate) const fn install() -> anyhow::Result<Self> {
        Ok(Self {})
    }

    /// In Prometheus's text format, where there are any.
    #[cfg(feature = "prometheus")]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "there are none without the feature"
    )]
    pub(crate) fn render(&self) -> Option<String> {
        Some(self.recorder.render())
    }

    #[cfg(not(feature = "prometheus"))]
    #[expect(clippy::unused_self, reason = "it is used with the feature")]
    pub(crate) const fn render(&self) -> Option<String> {
        None
    }
}

#[cfg(feature = "prometheus")]
pub(crate) fn count(fault: Fault) {
    metrics::counter!(FAULTS, "code" => fault.code()).increment(1);
}

#[cfg(not(feature = "prometheus"))]
pub(crate) const fn count(_: Fault) {}
