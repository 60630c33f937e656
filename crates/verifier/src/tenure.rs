use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{clock, lease::Lease, telemetry};

/// How long one call, or the stream that answers it, may go on: as long as its lease, and longer
/// where calls may finish.
pub(crate) struct Tenure {
    lease: Arc<Lease>,
    grace: Duration,
    /// The state of revocations that the lease was last held against.
    looked_at: Option<u64>,
    /// Made when there is something to wait for: most answers are there at once.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Tenure {
    pub(crate) fn new(lease: Arc<Lease>, is_call: bool) -> Self {
        let grace = if is_call {
            lease.call_grace()
        } else {
            Duration::ZERO
        };
        Self {
            lease,
            grace,
            looked_at: None,
            end: None,
        }
    }

    pub(crate) const fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    pub(crate) fn is_over(&mut self) -> bool {
        let now = clock::now();
        let revocations = Some(self.lease.revocations());
        if self.looked_at != revocations {
            self.looked_at = revocations;
            self.lease.look_for_revocation(now);
        }
        self.lease.ends_at().saturating_add(self.grace) <= now
    }

    /// Ready when it is over.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self
            .end
            .get_or_insert_with(|| Box::pin(Arc::clone(&self.lease).end(self.grace)));
        end.as_mut().poll(cx)
    }

    /// Logs and counts that something was cut off.
    pub(crate) fn report_end(&self) {
        self.lease.report_end();
        telemetry::stream_ended(self.lease.end_reason().as_str());
    }
}
