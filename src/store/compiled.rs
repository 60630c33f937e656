//! The policies that an isolate has compiled, so that a large one costs nothing as long as it is
//! the one in force, which D1 is asked each time.

use std::{cell::RefCell, sync::Arc};

use super::StoreError;
use crate::{
    authority::Policy,
    platform::{Recent, metrics},
};

/// The hint under which the policy for all is held; tenants' are under the id of a key.
pub(super) const AUTHORITY: &str = "";
/// The hint under which the policy of the tenant that asked last is held.
const LAST_TENANT: &str = "*";

/// In bytes of documents.
const MAX_COMPILED: usize = 2 * 1024 * 1024;
const MAX_HINTS: usize = 4_096;

thread_local! {
    static ALLOW_ALL: Arc<Policy> = Arc::new(Policy::allow_all());
    static COMPILED: RefCell<Recent<Arc<Policy>>> = RefCell::new(Recent::new(MAX_COMPILED));
    static HINTS: RefCell<Recent<Arc<str>>> = RefCell::new(Recent::new(MAX_HINTS));
}

/// A policy that was in force when it was last looked at.
pub(super) struct Held {
    pub(super) digest: Arc<str>,
    pub(super) policy: Arc<Policy>,
}

/// What was in force for this hint.
pub(super) fn held(hint: &str) -> Option<Held> {
    let digest = HINTS.with_borrow_mut(|hints| hints.get(hint))?;
    let policy = COMPILED.with_borrow_mut(|compiled| compiled.get(&digest))?;
    Some(Held { digest, policy })
}

/// … and where there was none, what was for the last tenant: many callers share few policies.
pub(super) fn held_of_tenant(hint: &str) -> Option<Held> {
    held(hint).or_else(|| held(LAST_TENANT))
}

/// The policy that D1 says is in force; `document` is left out where `held` is the one.
pub(super) fn in_force(
    hint: &str,
    held: Option<Held>,
    digest: Option<&str>,
    document: Option<&str>,
) -> Result<Arc<Policy>, StoreError> {
    let Some(digest) = digest else {
        return Ok(ALLOW_ALL.with(Arc::clone));
    };
    if let Some(held) = held.filter(|held| *held.digest == *digest) {
        metrics::count(metrics::looked_up("policy", "fresh"));
        return Ok(held.policy);
    }
    metrics::count(metrics::looked_up("policy", "missing"));
    HINTS.with_borrow_mut(|hints| {
        let digest: Arc<str> = digest.into();
        if hint != AUTHORITY {
            hints.keep(LAST_TENANT.to_owned(), digest.clone(), 1);
        }
        hints.keep(hint.to_owned(), digest, 1);
    });
    if let Some(policy) = COMPILED.with_borrow_mut(|compiled| compiled.get(digest)) {
        return Ok(policy);
    }
    let document =
        document.ok_or_else(|| StoreError::Unavailable("D1 left out a policy".into()))?;
    let policy = Policy::read(document, digest)
        .map_err(|error| StoreError::Unavailable(format!("the policy in force: {error}")))?;
    let policy = Arc::new(policy);
    COMPILED.with_borrow_mut(|compiled| {
        compiled.keep(digest.to_owned(), policy.clone(), document.len());
    });
    Ok(policy)
}
