//! The life of a signing key, step by step: `next`, `active`, `retired`, dropped. Which step a set is
//! ready for, and whether the world is: plain functions over plain data.

use mcp_connect_descriptor::KeyStatus;
use serde_json::Value;

/// When the authority was first seen to hold a key with its status: from then on the waits count.
const CONFIRMED: &str = "confirmed";

/// A key as the authority holds it.
pub(crate) struct Held {
    pub(crate) kid: String,
    pub(crate) status: KeyStatus,
    pub(crate) revoked: bool,
}

/// What came of an attempt to go one step further.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The set has changed and has to be put.
    Done(Step),
    /// Nothing that the authority has to know was changed.
    TooEarly(Obstacle),
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// A new key is announced.
    Added(String),
    /// The next key signs, the active one is retired.
    Promoted(String),
    /// Retired keys are gone.
    Dropped(Vec<String>),
    /// Keys that were revoked are gone; where that was the active one, another is.
    Purged(Vec<String>),
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Obstacle {
    /// The authority has to be asked first.
    Unasked,
    /// The authority holds another set: put this one first.
    NotPut(String),
    /// So many seconds are left.
    Wait(String, u64),
}

/// Goes one step, if it is safe. `held` is what the authority says, `wait` overrides both waits, `now`
/// is in seconds since the Unix epoch.
pub(crate) fn step<E>(
    keys: &mut Vec<Value>,
    held: Option<&[Held]>,
    wait: Option<u64>,
    now: u64,
    new_key: impl FnOnce(KeyStatus) -> Result<Value, E>,
) -> Result<Outcome, E> {
    let revoked: Vec<String> = held
        .unwrap_or_default()
        .iter()
        .filter(|key| key.revoked)
        .map(|key| key.kid.clone())
        .filter(|kid| keys.iter().any(|key| is_key(key, kid)))
        .collect();
    if !revoked.is_empty() {
        keys.retain(|key| !revoked.iter().any(|kid| is_key(key, kid)));
        if with_status(keys, "active").is_none() {
            match with_status(keys, "next") {
                Some(next) => set_status(next, "active", now),
                None => keys.push(dated(new_key(KeyStatus::Active)?, now)),
            }
        }
        return Ok(Outcome::Done(Step::Purged(revoked)));
    }

    if with_status(keys, "retired").is_some() {
        let mut dropped = Vec::new();
        let mut obstacle = None;
        for key in keys.iter_mut().filter(|key| has_status(key, "retired")) {
            match ripe(key, held, KeyStatus::Retired, wait, now) {
                None => dropped.push(kid(key).to_owned()),
                Some(reason) => obstacle = Some(reason),
            }
        }
        return Ok(match obstacle {
            Some(obstacle) if dropped.is_empty() => Outcome::TooEarly(obstacle),
            _ => {
                keys.retain(|key| !dropped.iter().any(|kid| is_key(key, kid)));
                Outcome::Done(Step::Dropped(dropped))
            }
        });
    }

    if let Some(next) = with_status(keys, "next") {
        if let Some(obstacle) = ripe(next, held, KeyStatus::Next, wait, now) {
            return Ok(Outcome::TooEarly(obstacle));
        }
        let promoted = kid(next).to_owned();
        for key in keys.iter_mut() {
            if has_status(key, "active") {
                set_status(key, "retired", now);
            } else if is_key(key, &promoted) {
                set_status(key, "active", now);
            }
        }
        return Ok(Outcome::Done(Step::Promoted(promoted)));
    }

    let key = dated(new_key(KeyStatus::Next)?, now);
    let added = kid(&key).to_owned();
    keys.push(key);
    Ok(Outcome::Done(Step::Added(added)))
}

/// What is in the way of ending this status, if anything. Notes when the authority was first seen
/// with it.
fn ripe(
    key: &mut Value,
    held: Option<&[Held]>,
    status: KeyStatus,
    wait: Option<u64>,
    now: u64,
) -> Option<Obstacle> {
    let Some(held) = held else {
        return Some(Obstacle::Unasked);
    };
    let kid = kid(key).to_owned();
    if !held
        .iter()
        .any(|held| held.kid == kid && held.status == status)
    {
        return Some(Obstacle::NotPut(kid));
    }
    let confirmed = match key.get(CONFIRMED).and_then(Value::as_u64) {
        // A clock that was set back doesn't shorten the wait.
        Some(confirmed) if confirmed <= now => confirmed,
        _ => {
            set(key, CONFIRMED, now.into());
            now
        }
    };
    let wait = wait.or(status.settles_after()).unwrap_or_default();
    let left = (confirmed + wait).saturating_sub(now);
    (left > 0).then_some(Obstacle::Wait(kid, left))
}

fn kid(key: &Value) -> &str {
    key.get("kid").and_then(Value::as_str).unwrap_or_default()
}

fn is_key(key: &Value, id: &str) -> bool {
    kid(key) == id
}

fn has_status(key: &Value, status: &str) -> bool {
    key.get("status").and_then(Value::as_str) == Some(status)
}

fn with_status<'a>(keys: &'a mut [Value], status: &str) -> Option<&'a mut Value> {
    keys.iter_mut().find(|key| has_status(key, status))
}

fn set_status(key: &mut Value, status: &str, now: u64) {
    set(key, "status", status.into());
    set(key, "since", now.into());
    if let Some(members) = key.as_object_mut() {
        members.remove(CONFIRMED);
    }
}

fn dated(mut key: Value, now: u64) -> Value {
    set(&mut key, "since", now.into());
    key
}

fn set(key: &mut Value, member: &str, value: Value) {
    if let Some(members) = key.as_object_mut() {
        members.insert(member.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(kid: &str, status: &str) -> Value {
        json!({ "kid": kid, "status": status, "d": kid })
    }

    fn held(keys: &[(&str, KeyStatus)]) -> Vec<Held> {
        let held = |&(kid, status): &(&str, KeyStatus)| Held {
            kid: kid.into(),
            status,
            revoked: false,
        };
        keys.iter().map(held).collect()
    }

    fn go(keys: &mut Vec<Value>, held: Option<&[Held]>, now: u64) -> Outcome {
        let new = |status: KeyStatus| Ok::<_, ()>(key("new", status.as_str()));
        step(keys, held, None, now, new).unwrap()
    }

    fn statuses(keys: &[Value]) -> Vec<String> {
        keys.iter()
            .map(|key| format!("{} {}", kid(key), key["status"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn a_key_walks_through_its_life_and_no_step_is_early() {
        use KeyStatus::{Active, Next, Retired};
        let mut keys = vec![key("old", "active")];
        assert_eq!(
            go(&mut keys, None, NOW),
            Outcome::Done(Step::Added("new".into()))
        );
        assert_eq!(statuses(&keys), ["old active", "new next"]);
        assert_eq!(keys[1]["since"], NOW);

        let early = |obstacle| Outcome::TooEarly(obstacle);
        assert_eq!(go(&mut keys, None, NOW), early(Obstacle::Unasked));
        let before = held(&[("old", Active)]);
        // However long it lies about: the clock begins when the authority is seen with it.
        let later = NOW + 10_000;
        assert_eq!(
            go(&mut keys, Some(&before), later),
            early(Obstacle::NotPut("new".into()))
        );
        let put = held(&[("old", Active), ("new", Next)]);
        let wait = |kid: &str, left| early(Obstacle::Wait(kid.into(), left));
        assert_eq!(go(&mut keys, Some(&put), later), wait("new", 660));
        assert_eq!(go(&mut keys, Some(&put), later + 659), wait("new", 1));
        assert_eq!(statuses(&keys), ["old active", "new next"]);
        let promoted = later + 660;
        assert_eq!(
            go(&mut keys, Some(&put), promoted),
            Outcome::Done(Step::Promoted("new".into()))
        );
        assert_eq!(statuses(&keys), ["old retired", "new active"]);
        assert_eq!(keys[0]["since"], promoted);
        assert!(keys[1].get(CONFIRMED).is_none());

        assert_eq!(
            go(&mut keys, Some(&put), promoted + 1000),
            early(Obstacle::NotPut("old".into()))
        );
        let put = held(&[("old", Retired), ("new", Active)]);
        assert_eq!(go(&mut keys, Some(&put), promoted + 1000), wait("old", 155));
        assert_eq!(go(&mut keys, Some(&put), promoted + 1154), wait("old", 1));
        assert_eq!(
            go(&mut keys, Some(&put), promoted + 1155),
            Outcome::Done(Step::Dropped(vec!["old".into()]))
        );
        assert_eq!(statuses(&keys), ["new active"]);
    }

    #[test]
    fn a_clock_set_back_begins_the_wait_anew() {
        let mut keys = vec![key("old", "active"), key("new", "next")];
        keys[1][CONFIRMED] = json!(NOW + 5_000);
        let put = held(&[("old", KeyStatus::Active), ("new", KeyStatus::Next)]);
        let outcome = go(&mut keys, Some(&put), NOW);
        assert_eq!(
            outcome,
            Outcome::TooEarly(Obstacle::Wait("new".into(), 660))
        );
    }

    #[test]
    fn revoked_keys_go_at_once_and_another_signs() {
        let revoked = |kid: &str| {
            vec![Held {
                kid: kid.into(),
                status: KeyStatus::Active,
                revoked: true,
            }]
        };
        for (mut keys, left) in [
            (
                vec![key("old", "active"), key("n", "next")],
                vec!["n active"],
            ),
            (vec![key("old", "active")], vec!["new active"]),
            (
                vec![key("a", "active"), key("old", "retired")],
                vec!["a active"],
            ),
        ] {
            let purged = Outcome::Done(Step::Purged(vec!["old".into()]));
            assert_eq!(go(&mut keys, Some(&revoked("old")), NOW), purged);
            assert_eq!(statuses(&keys), left);
        }
    }
}
