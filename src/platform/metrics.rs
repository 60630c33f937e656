//! What happened, counted in this isolate. Sums go to the store now and then, never on the way of a
//! request; what an isolate had not handed over when it ended is lost.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use worker::{AnalyticsEngineDataPointBuilder, Env};

use super::log;

/// Counts are handed over no more often than this.
pub(crate) const HANDED_OVER_EVERY: Duration = Duration::from_secs(10);

/// A hand-over that has not ended after this was given up by the platform.
const GIVEN_UP_AFTER_MILLIS: u64 = 60_000;

/// Up to and including so many milliseconds; the last has no end.
pub(crate) const LATENCY_BUCKETS: [(u64, &str); 10] = [
    (5, "0.005"),
    (10, "0.01"),
    (25, "0.025"),
    (50, "0.05"),
    (100, "0.1"),
    (250, "0.25"),
    (500, "0.5"),
    (1000, "1"),
    (5000, "5"),
    (u64::MAX, "+Inf"),
];

/// One sum: a name, and what tells it from others of that name. Text of this program only: nothing
/// that came with a request can become a name or a label, so there is a bounded number of them.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) labels: [(&'static str, &'static str); 2],
}

const NONE: (&str, &str) = ("", "");

pub(crate) const LIMITER_ERRORS: Series = Series {
    name: "limiter_errors",
    labels: [NONE, NONE],
};

const LATENCY_SUM: Series = Series {
    name: "connect_seconds_sum",
    labels: [NONE, NONE],
};

/// An answer of a family of endpoints.
pub(crate) const fn answered(family: &'static str, status: &'static str) -> Series {
    Series {
        name: "answers",
        labels: [("family", family), ("status", status)],
    }
}

/// A connect, by its code.
pub(crate) const fn connected(code: &'static str) -> Series {
    Series {
        name: "connects",
        labels: [("code", code), NONE],
    }
}

/// A look into a cache: `fresh`, `stale` or `missing`.
pub(crate) const fn looked_up(cache: &'static str, found: &'static str) -> Series {
    Series {
        name: "cache_lookups",
        labels: [("cache", cache), ("found", found)],
    }
}

pub(crate) const fn limited(scope: &'static str) -> Series {
    Series {
        name: "rate_limited",
        labels: [("scope", scope), NONE],
    }
}

pub(crate) const fn storage_failed(storage: &'static str) -> Series {
    Series {
        name: "storage_errors",
        labels: [("storage", storage), NONE],
    }
}

impl Series {
    /// As Prometheus writes labels: `code="ok"`.
    pub(crate) fn label_text(&self) -> String {
        self.labels
            .iter()
            .filter(|(label, _)| !label.is_empty())
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect::<Vec<_>>()
            .join(",")
    }
}

#[derive(Default)]
struct Counted {
    sums: HashMap<Series, f64>,
    /// When a hand-over of these was begun, in milliseconds since the Unix epoch.
    handing_over_since: Option<u64>,
}

thread_local! {
    static COUNTED: RefCell<Counted> = RefCell::default();
}

pub(crate) fn count(series: Series) {
    add(series, 1.0);
}

/// How long a connect took. The clock stands still while the Worker computes: it is the waiting that
/// is measured, in whole milliseconds.
pub(crate) fn connect_took(milliseconds: u64) {
    let bucket = LATENCY_BUCKETS
        .iter()
        .find(|(most, _)| milliseconds <= *most)
        .map_or("+Inf", |(_, bucket)| bucket);
    count(Series {
        name: "connect_seconds_bucket",
        labels: [("le", bucket), NONE],
    });
    add(
        LATENCY_SUM,
        Duration::from_millis(milliseconds).as_secs_f64(),
    );
}

fn add(series: Series, value: f64) {
    COUNTED.with_borrow_mut(|counted| *counted.sums.entry(series).or_default() += value);
}

/// Whether it is for this request to hand over what was counted, after a while: there is something,
/// and nobody else is about to.
pub(crate) fn must_hand_over(now_millis: u64) -> bool {
    COUNTED.with_borrow_mut(|counted| {
        let is_under_way = counted
            .handing_over_since
            .is_some_and(|since| now_millis.saturating_sub(since) < GIVEN_UP_AFTER_MILLIS);
        let must = !is_under_way && !counted.sums.is_empty();
        if must {
            counted.handing_over_since = Some(now_millis);
        }
        must
    })
}

/// What was counted since the last time.
pub(crate) fn take() -> Vec<(Series, f64)> {
    COUNTED.with_borrow_mut(|counted| {
        counted.handing_over_since = None;
        counted.sums.drain().collect()
    })
}

/// Counts again what could not be handed over.
pub(crate) fn put_back(sums: Vec<(Series, f64)>) {
    for (series, value) in sums {
        add(series, value);
    }
}

/// One connect, for Analytics Engine.
pub(crate) struct DataPoint<'a> {
    pub(crate) code: &'a str,
    pub(crate) server_id: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) tenant_id: &'a str,
    pub(crate) milliseconds: u64,
}

/// More of an index is refused.
const MAX_INDEX_BYTES: usize = 96;

/// Where data points go: the binding `METRICS`, if there is one.
#[derive(Clone)]
pub(crate) struct Dataset {
    env: Env,
}

impl Dataset {
    pub(crate) fn new(env: &Env) -> Self {
        Self { env: env.clone() }
    }

    /// Nobody waits for it.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one request")]
    pub(crate) fn write(&self, point: &DataPoint<'_>) {
        let Ok(dataset) = self.env.analytics_engine("METRICS") else {
            return;
        };
        let tenant_id = point.tenant_id;
        let written = AnalyticsEngineDataPointBuilder::new()
            // Ids are ASCII.
            .indexes([tenant_id.get(..MAX_INDEX_BYTES).unwrap_or(tenant_id)])
            .blobs([point.code, point.server_id, point.client_id, tenant_id])
            .doubles([point.milliseconds as f64])
            .write_to(&dataset);
        if let Err(error) = written {
            let problem = error.to_string();
            log::error_once("METRICS", "data_point_failed", &[("problem", &problem)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> HashMap<String, f64> {
        take()
            .into_iter()
            .map(|(series, value)| (format!("{}{{{}}}", series.name, series.label_text()), value))
            .collect()
    }

    #[test]
    fn counts_add_up_until_they_are_taken() {
        count(connected("ok"));
        count(connected("ok"));
        count(answered("connect", "2xx"));
        count(LIMITER_ERRORS);
        let sums = take();
        put_back(sums);
        count(connected("ok"));
        let expected = [
            ("connects{code=\"ok\"}", 3.0),
            ("answers{family=\"connect\",status=\"2xx\"}", 1.0),
            ("limiter_errors{}", 1.0),
        ];
        assert_eq!(
            taken(),
            expected.map(|(name, value)| (name.into(), value)).into()
        );
        assert!(taken().is_empty());
    }

    #[test]
    fn a_connect_falls_into_one_bucket() {
        for (milliseconds, bucket) in [(0, "0.005"), (5, "0.005"), (6, "0.01"), (5001, "+Inf")] {
            connect_took(milliseconds);
            let sums = taken();
            assert_eq!(
                sums.get(&format!("connect_seconds_bucket{{le=\"{bucket}\"}}")),
                Some(&1.0)
            );
            assert_eq!(sums.len(), 2);
        }
    }

    #[test]
    fn one_request_at_a_time_hands_over() {
        assert!(!must_hand_over(1000), "there is nothing");
        count(connected("ok"));
        assert!(must_hand_over(1000));
        count(connected("ok"));
        assert!(!must_hand_over(2000), "another is about to");
        assert!(must_hand_over(61_000), "the other was given up");
        take();
        assert!(!must_hand_over(62_000));
    }
}
