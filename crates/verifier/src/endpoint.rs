//! Asks the authority for a document and trusts nothing about the answer.

use std::{error::Error, io, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, AGE, CACHE_CONTROL, DATE, ETAG, IF_NONE_MATCH},
};
use reqwest::redirect;
use url::Url;

use crate::{
    clock::Moment,
    clock_watch::{ClockWatch, Reading},
    retry_after::{date_of, retry_after},
};

/// For the whole answer, from the connection's beginning to the body's end.
const TIMEOUT: Duration = Duration::from_secs(3);

/// One document of the authority. Its URL comes from the configuration alone.
#[derive(Debug)]
pub(crate) struct Endpoint {
    client: reqwest::Client,
    url: Url,
    media_type: &'static str,
    max_bytes: usize,
    clock: Arc<ClockWatch>,
}

pub(crate) struct Document {
    pub(crate) body: Vec<u8>,
    pub(crate) etag: Option<HeaderValue>,
    /// Whether the answer said what time it was.
    pub(crate) is_dated: bool,
    /// How long the answer may be used by caches.
    pub(crate) lifetime: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("it answered with status {status}, not 200")]
    Status {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("it answered with more than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Transport(String),
}

impl FetchError {
    /// How long the authority wants to be left alone.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::TooLarge(_) | Self::Transport(_) => None,
        }
    }
}

impl Endpoint {
    pub(crate) fn new(
        url: Url,
        loopback: bool,
        media_type: &'static str,
        max_bytes: usize,
        clock: Arc<ClockWatch>,
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
            clock,
        })
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) async fn get(&self) -> Result<Document, FetchError> {
        self.read(self.send(self.request()).await?).await
    }

    /// `None`: it is still the one with this tag.
    pub(crate) async fn get_unless(
        &self,
        etag: &HeaderValue,
    ) -> Result<Option<Document>, FetchError> {
        let request = self.request().header(IF_NONE_MATCH, etag);
        match self.send(request).await? {
            unchanged if unchanged.status() == StatusCode::NOT_MODIFIED => Ok(None),
            response => self.read(response).await.map(Some),
        }
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let request = self.client.get(self.url.clone());
        request.header(ACCEPT, self.media_type)
    }

    /// Sends, and compares this machine's clock with the date of the answer, whatever it is.
    async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, FetchError> {
        let asked = Moment::now();
        let response = request.send().await?;
        let now = Moment::now();
        if let Some(date) = date_of(response.headers(), &DATE) {
            let age = number(response.headers(), AGE);
            let reading = Reading::of_answer(date, age, asked.since_epoch, now.since_epoch);
            self.clock.take(reading, now.instant);
        }
        Ok(response)
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Document, FetchError> {
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status {
                status: response.status(),
                retry_after: retry_after(response.headers(), Moment::now().since_epoch),
            });
        }
        let is_dated = date_of(response.headers(), &DATE).is_some();
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
            is_dated,
            lifetime,
        })
    }
}

impl From<reqwest::Error> for FetchError {
    /// Says what happened and what to look at: a name, a port, a certificate, the time.
    fn from(error: reqwest::Error) -> Self {
        let causes = || std::iter::successors(error.source(), |&cause| cause.source());
        let io_kind = causes()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .map(io::Error::kind)
            .last();
        // The innermost cause is the one that names something; the others name layers of libraries.
        let innermost = causes().last().map_or_else(
            || error.to_string(),
            |cause| cause.to_string().trim_end_matches('.').to_owned(),
        );
        let is_of_names = causes().any(|cause| cause.to_string().contains("dns error"));
        Self::Transport(if error.is_timeout() {
            format!("it did not answer within {} s", TIMEOUT.as_secs())
        } else if is_of_names {
            format!("its host name can't be resolved ({innermost})")
        } else if io_kind == Some(io::ErrorKind::ConnectionRefused) {
            "nothing listens there (connection refused)".into()
        } else if error.is_connect() {
            format!("it can't be connected to ({innermost})")
        } else {
            format!("its answer broke off ({innermost})")
        })
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
    let age = number(headers, AGE).unwrap_or(0);
    Duration::from_secs(max_age.saturating_sub(age))
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
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
        answered("200 OK", &"x".repeat(body_bytes), max_bytes).await
    }

    async fn answered(head: &str, body: &str, max_bytes: usize) -> Result<Document, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let clock = Arc::new(ClockWatch::new(Duration::ZERO));
        let endpoint =
            Endpoint::new(url.parse().unwrap(), true, "text/plain", max_bytes, clock).unwrap();
        let server = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            assert_ne!(connection.read(&mut [0; 1024]).await.unwrap(), 0);
            let answer = format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}");
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

    #[tokio::test]
    async fn who_answers_may_ask_for_a_pause() {
        for (retry_after, seconds) in [
            ("retry-after: 7", Some(7)),
            (
                "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:57 GMT",
                Some(20),
            ),
            ("x: y", None),
        ] {
            let head = format!("429 Too Many Requests\r\n{retry_after}");
            let error = answered(&head, "", 1).await.map(drop).unwrap_err();
            let pause = error.retry_after();
            assert_eq!(pause, seconds.map(Duration::from_secs), "{retry_after}");
        }
    }

    #[tokio::test]
    async fn faults_are_told_in_words() {
        let fault = async |url: &str| {
            let clock = Arc::new(ClockWatch::new(Duration::ZERO));
            let url = url.parse().unwrap();
            let endpoint = Endpoint::new(url, true, "text/plain", 1, clock).unwrap();
            endpoint.get().await.map(drop).unwrap_err().to_string()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = fault(&format!("http://{address}/")).await;
        assert_eq!(refused, "nothing listens there (connection refused)");
        let unknown = fault("http://authority.invalid/").await;
        assert!(
            unknown.starts_with("its host name can't be resolved"),
            "{unknown}"
        );
        for text in [refused, unknown] {
            assert!(!text.contains("::") && !text.contains("error:"), "{text}");
        }
        let broken = answered("200 OK\r\ncontent-length: 9", "x", 9).await;
        let broken = broken.map(drop).unwrap_err().to_string();
        assert!(broken.starts_with("its answer broke off"), "{broken}");
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
