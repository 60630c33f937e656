use super::{
    caching::{cacheable, etag, tagged, unchanged},
    call::Call,
    document,
    problem::Problem,
};
use crate::platform::http::Response;

/// It may be kept, and has to be asked for again each time.
const CACHEABLE: &str = "no-cache";

/// What changed, in the order in which it was committed. A server or version that changes again moves
/// to the end, so whoever goes on from the last number it saw misses nothing.
pub(crate) async fn list(call: &Call) -> Result<Response, Problem> {
    let after = match call.query("after")?.map(|after| after.parse()) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_)) => {
            return Err(Problem::request_invalid(
                "after: must be the `seq` of an earlier answer, or 0",
            ));
        }
    };
    let changes = call.app.store.changes(after, call.page_size()?).await?;
    if after > changes.head {
        return Err(Problem::request_invalid(
            "after: no change has that number yet; this registry was restored from an earlier state, so begin again from 0",
        ));
    }
    let body = format!(
        r#"{{"changes":[{}],"seq":{},"more":{}}}"#,
        changes.entries.join(","),
        changes.seq,
        changes.seq < changes.head,
    );
    let etag = etag(&body);
    if let Some(unchanged) = unchanged(&call.head, &etag, CACHEABLE) {
        return Ok(unchanged);
    }
    let answer = document("application/json", body.into_bytes());
    Ok(tagged(cacheable(answer, CACHEABLE), etag))
}
