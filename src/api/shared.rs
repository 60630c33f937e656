//! Documents that every server polls: however many there are, the authority is asked for each once in a second at each
//! location of Cloudflare. A change forgets them where it is made, so that who made it sees what it did.

use http::StatusCode;
use js_sys::Uint8Array;
use wasm_bindgen_futures::JsFuture;

use super::{
    App,
    caching::{cacheable, tagged, unchanged},
    call::Call,
    document,
    problem::Problem,
};
use crate::platform::{
    edge_cache,
    http::{Response, write},
    metrics,
};

/// For how long the location keeps a document.
const KEPT: &str = "public, max-age=1";

/// A document that is shared.
pub(super) struct Shared {
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    /// What the reader of one from the location's cache is told.
    pub(super) caching: &'static str,
}

pub(super) const KEY_SET: Shared = Shared {
    path: "/.well-known/jwks.json",
    content_type: "application/jwk-set+json",
    caching: "public, max-age=60",
};

pub(super) const FEED: Shared = Shared {
    path: "/v1/revocations",
    content_type: "application/mcp-revocations+jwt",
    // Together with the second at the location, no more than from the authority itself.
    caching: "public, max-age=1",
};

impl Shared {
    /// From the location's cache, else made now.
    pub(super) async fn answer(
        &self,
        call: &Call,
        made: impl Future<Output = Result<Response, Problem>>,
    ) -> Result<Response, Problem> {
        let Some(url) = self.url(&call.app) else {
            return made.await;
        };
        if let Some(kept) = self.kept(call, &url).await {
            metrics::count(metrics::looked_up("edge", "fresh"));
            return Ok(kept);
        }
        metrics::count(metrics::looked_up("edge", "missing"));
        let answer = made.await?;
        if answer.status == StatusCode::OK
            && let Ok(kept) = write(&cacheable(answer.clone(), KEPT))
        {
            call.app
                .context
                .wait_until(async move { edge_cache::keep(&url, &kept).await });
        }
        Ok(answer)
    }

    async fn kept(&self, call: &Call, url: &str) -> Option<Response> {
        let kept = edge_cache::find(url).await?;
        let etag = kept.headers().get("etag").ok().flatten();
        if let Some(unchanged) = etag
            .as_ref()
            .and_then(|etag| unchanged(&call.head, etag, self.caching))
        {
            return Some(unchanged);
        }
        let body = JsFuture::from(kept.array_buffer().ok()?).await.ok()?;
        let body = Uint8Array::new(&body).to_vec();
        let answer = cacheable(document(self.content_type, body), self.caching);
        Some(match etag {
            Some(etag) => tagged(answer, etag),
            None => answer,
        })
    }

    /// An authority on one's own machine, without TLS, has no location in between.
    fn url(&self, app: &App) -> Option<String> {
        let issuer = app.settings.issuer().ok()?;
        issuer
            .starts_with("https:")
            .then(|| format!("{issuer}{}", self.path))
    }
}

/// After a change.
pub(super) async fn forget(app: &App) {
    for shared in [KEY_SET, FEED] {
        if let Some(url) = shared.url(app) {
            edge_cache::forget(&url).await;
        }
    }
}
