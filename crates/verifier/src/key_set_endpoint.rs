//! Fetches the authority's key set and trusts nothing about the answer.

use std::time::Duration;

use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CACHE_CONTROL},
};
use mcp_connect_descriptor::{KeySet, KeySetError, MAX_KEY_SET_BYTES};
use reqwest::redirect;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(3);
const SHORTEST_REFRESH: Duration = Duration::from_secs(30);
const LONGEST_REFRESH: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(crate) struct KeySetEndpoint {
    client: reqwest::Client,
    url: Url,
}

pub(crate) struct Fetched {
    pub(crate) keys: KeySet,
    /// How long to wait with the next fetch.
    pub(crate) refresh_after: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("unusable key set: {0}")]
    KeySet(#[from] KeySetError),
    #[error("answered with status {0}, not 200")]
    Status(StatusCode),
    #[error("answered with more than {} bytes", MAX_KEY_SET_BYTES)]
    TooLarge,
    #[error("{0}")]
    Transport(#[from] reqwest::Error),
}

impl KeySetEndpoint {
    pub(crate) fn new(url: Url, loopback: bool) -> Result<Self, reqwest::Error> {
        let mut client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT);
        // A proxy has another loopback than we have.
        client = if loopback {
            client.no_proxy()
        } else {
            client.https_only(true)
        };
        Ok(Self {
            client: client.build()?,
            url,
        })
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let mut response = self
            .client
            .get(self.url.clone())
            .header(ACCEPT, "application/json")
            .send()
            .await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let refresh_after = refresh_after(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_KEY_SET_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched {
            keys: KeySet::parse(&body)?,
            refresh_after,
        })
    }
}

/// Half of the lifetime that `Cache-Control` (RFC 9111, section 5.2.2) allows, within bounds.
fn refresh_after(headers: &HeaderMap) -> Duration {
    let directives = || {
        headers
            .get_all(CACHE_CONTROL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|directive| directive.trim().to_ascii_lowercase())
    };
    let seconds =
        if directives().any(|directive| directive == "no-store" || directive == "no-cache") {
            0
        } else {
            directives()
                .filter_map(|directive| {
                    let seconds = directive
                        .strip_prefix("max-age=")?
                        .trim_matches('"')
                        .parse();
                    seconds.ok()
                })
                .min()
                .unwrap_or(0)
        };
    Duration::from_secs(seconds / 2).clamp(SHORTEST_REFRESH, LONGEST_REFRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refreshes_at_half_the_lifetime_within_bounds() {
        for (cache_control, seconds) in [
            (&["max-age=300"][..], 150),
            (&["public, Max-Age=\"300\", must-revalidate"], 150),
            (&["public", "max-age=300"], 150),
            (&["max-age=300, max-age=100"], 50),
            (&["max-age=60"], 30),
            (&["max-age=1"], 30),
            (&["max-age=1200"], 600),
            (&["max-age=18446744073709551615"], 600),
            (&["max-age=99999999999999999999999"], 30),
            (&["max-age=-300"], 30),
            (&["max-age"], 30),
            (&["s-maxage=300"], 30),
            (&["max-age=300, no-cache"], 30),
            (&["no-store"], 30),
            (&[], 30),
        ] {
            let mut headers = HeaderMap::new();
            for value in cache_control {
                headers.append(CACHE_CONTROL, value.parse().unwrap());
            }
            let expected = Duration::from_secs(seconds);
            assert_eq!(refresh_after(&headers), expected, "{cache_control:?}");
        }
    }
}
