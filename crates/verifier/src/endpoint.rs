//! Asks the authority for a document and trusts nothing about the answer.

use std::{error::Error, time::Duration};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH},
};
use reqwest::redirect;
use url::Url;

/// For the whole answer, from the connection's beginning to the body's end.
const TIMEOUT: Duration = Duration::from_secs(3);

/// One document of the authority. Its URL comes from the configuration alone.
#[derive(Debug)]
pub(crate) struct Endpoint {
    client: reqwest::Client,
    url: Url,
    media_type: &'static str,
    max_bytes: usize,
}

pub(crate) struct Document {
    pub(crate) body: Vec<u8>,
    pub(crate) etag: Option<HeaderValue>,
    /// How long the answer may be used by caches.
    pub(crate) lifetime: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("answered with status {0}, not 200")]
    Status(StatusCode),
    #[error("answered with more than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Transport(String),
}

impl Endpoint {
    pub(crate) fn new(
        url: Url,
        loopback: bool,
        media_type: &'static str,
        max_bytes: usize,
    ) -> Result<Self, reqwest::Error> {
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
            media_type,
            max_bytes,
        })
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) async fn get(&self) -> Result<Document, FetchError> {
        self.read(self.request().send().await?).await
    }

    /// `None`: it is still the one with this tag.
    pub(crate) async fn get_unless(
        &self,
        etag: &HeaderValue,
    ) -> Result<Option<Document>, FetchError> {
        let request = self.request().header(IF_NONE_MATCH, etag);
        match request.send().await? {
            unchanged if unchanged.status() == StatusCode::NOT_MODIFIED => Ok(None),
            response => self.read(response).await.map(Some),
        }
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let request = self.client.get(self.url.clone());
        request.header(ACCEPT, self.media_type)
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Document, FetchError> {
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let lifetime = lifetime(response.headers());
        let etag = response.headers().get(ETAG).cloned();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > self.max_bytes {
                return Err(FetchError::TooLarge(self.max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Document {
            body,
            etag,
            lifetime,
        })
    }
}

impl From<reqwest::Error> for FetchError {
    /// With its causes, which say what to look at: a name, a connection, a certificate, the time.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Transport(text)
    }
}

/// What is left of what `Cache-Control` and `Age` (RFC 9111, sections 5.2.2 and 5.1) allow.
fn lifetime(headers: &HeaderMap) -> Duration {
    let directives = || {
        headers
            .get_all(CACHE_CONTROL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|directive| directive.trim().to_ascii_lowercase())
    };
    if directives().any(|directive| directive == "no-store" || directive == "no-cache") {
        return Duration::ZERO;
    }
    let max_age: u64 = directives()
        .filter_map(|directive| {
            let seconds = directive.strip_prefix("max-age=")?;
            seconds.trim_matches('"').parse().ok()
        })
        .min()
        .unwrap_or(0);
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let age: u64 = age.and_then(|age| age.parse().ok()).unwrap_or(0);
    Duration::from_secs(max_age.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Asks for a body of this many bytes, whose length is not said before.
    async fn fetched(body_bytes: usize, max_bytes: usize) -> Result<Document, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let endpoint = Endpoint::new(url.parse().unwrap(), true, "text/plain", max_bytes).unwrap();
        let server = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            assert_ne!(connection.read(&mut [0; 1024]).await.unwrap(), 0);
            let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned();
            let answer = answer + &"x".repeat(body_bytes);
            connection.write_all(answer.as_bytes()).await.unwrap();
        };
        tokio::join!(server, endpoint.get()).1
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_no_further() {
        assert_eq!(fetched(100, 100).await.unwrap().body.len(), 100);
        let larger = fetched(101, 100).await.map(drop);
        assert!(matches!(larger, Err(FetchError::TooLarge(100))));
    }

    #[test]
    fn the_lifetime_is_what_the_answer_allows() {
        for (cache_control, age, seconds) in [
            (&["max-age=300"][..], None, 300),
            (&["public, Max-Age=\"300\", must-revalidate"], None, 300),
            (&["public", "max-age=300"], None, 300),
            (&["max-age=300, max-age=100"], None, 100),
            (&["max-age=18446744073709551615"], None, u64::MAX),
            (&["max-age=99999999999999999999999"], None, 0),
            (&["max-age=-300"], None, 0),
            (&["max-age"], None, 0),
            (&["s-maxage=300"], None, 0),
            (&["max-age=300, no-cache"], None, 0),
            (&["no-store"], None, 0),
            (&[], None, 0),
            (&["max-age=300"], Some("100"), 200),
            (&["max-age=300"], Some("301"), 0),
            (&["max-age=300"], Some("-1"), 300),
        ] {
            let mut headers = HeaderMap::new();
            for value in cache_control {
                headers.append(CACHE_CONTROL, value.parse().unwrap());
            }
            if let Some(age) = age {
                headers.append(AGE, age.parse().unwrap());
            }
            let expected = Duration::from_secs(seconds);
            assert_eq!(lifetime(&headers), expected, "{cache_control:?} {age:?}");
        }
    }
}
