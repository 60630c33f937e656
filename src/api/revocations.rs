use std::cell::RefCell;

use mcp_connect_descriptor::{MAX_FEED_ENTRIES, RevocationFeed, SigningKeys};

use super::{
    caching::{cacheable, etag, tagged, unchanged},
    call::Call,
    document,
    problem::Problem,
    shared::FEED,
    signing_key,
};
use crate::{
    authority::{FeedRow, WINDOW_SECONDS, feed},
    platform::{http::Response, now_millis, signer},
};

const MAX_AGE_SECONDS: u64 = 2;
const CACHEABLE: &str = "public, max-age=2";

thread_local! {
    /// What this isolate signed last, so that many who ask at once cost one signature.
    static SIGNED: RefCell<Option<Signed>> = const { RefCell::new(None) };
}

struct Signed {
    etag: String,
    key_id: String,
    issued_at: u64,
    token: String,
}

/// What was withdrawn within the life of any descriptor. What is acknowledged is told a second later at most, at the
/// same location at once.
pub(crate) async fn feed_of_all(call: &Call) -> Result<Response, Problem> {
    FEED.answer(call, feed_now(call)).await
}

async fn feed_now(call: &Call) -> Result<Response, Problem> {
    let issuer = call.app.settings.issuer()?;
    let keys = call.app.settings.signing_keys()?;
    let now = now_millis();
    let since = now.saturating_sub(WINDOW_SECONDS * 1000);
    let rows = call.app.store.feed_rows(since, MAX_FEED_ENTRIES).await?;
    let revoked_keys: Vec<String> = rows
        .iter()
        .filter_map(FeedRow::key_id)
        .map(str::to_owned)
        .collect();
    let feed = feed(rows, issuer, now);

    let etag = etag(feed.content());
    if let Some(unchanged) = unchanged(&call.head, &etag, CACHEABLE) {
        return Ok(unchanged);
    }
    let token = signed(&feed, &etag, keys, &revoked_keys).await?;
    let feed = document(FEED.content_type, token.into_bytes());
    Ok(tagged(cacheable(feed, CACHEABLE), etag))
}

async fn signed(
    feed: &RevocationFeed,
    etag: &str,
    keys: &SigningKeys,
    revoked_keys: &[String],
) -> Result<String, Problem> {
    let key = signing_key(keys, revoked_keys)?;
    let is_current = |signed: &&Signed| {
        (signed.etag.as_str(), signed.key_id.as_str()) == (etag, key.id())
            && feed.issued_at.abs_diff(signed.issued_at) < MAX_AGE_SECONDS
    };
    let held = SIGNED.with_borrow(|held| {
        let signed = held.as_ref().filter(is_current)?;
        Some(signed.token.clone())
    });
    if let Some(token) = held {
        return Ok(token);
    }
    let unsigned = feed
        .to_unsigned(key)
        .map_err(|error| Problem::authority_unavailable("feed_failed", &error.to_string()))?;
    let token = signer::sign(keys, key, &unsigned).await?;
    SIGNED.set(Some(Signed {
        etag: etag.to_owned(),
        key_id: key.id().to_owned(),
        issued_at: feed.issued_at,
        token: token.clone(),
    }));
    Ok(token)
}
