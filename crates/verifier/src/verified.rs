use std::{ops::Deref, sync::Arc};

use mcp_connect_descriptor::Descriptor;

/// A descriptor that a [`Verifier`](crate::Verifier) found good. Among the extensions of a request,
/// it says who is connecting; there is no other way to make one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verified(Arc<Signed>);

/// What was signed, and by which key: the feed withdraws both.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) descriptor: Descriptor,
    pub(crate) key_id: String,
}

impl Verified {
    pub(crate) fn new(signed: Signed) -> Self {
        Self(Arc::new(signed))
    }

    pub(crate) const fn shared(&self) -> &Arc<Signed> {
        &self.0
    }
}

impl Deref for Verified {
    type Target = Descriptor;

    fn deref(&self) -> &Descriptor {
        &self.0.descriptor
    }
}

impl Deref for Signed {
    type Target = Descriptor;

    fn deref(&self) -> &Descriptor {
        &self.descriptor
    }
}
