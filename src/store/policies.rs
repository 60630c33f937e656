use serde::Serialize;
use serde_json::value::RawValue;

use super::{Page, Row, Store, StoreError, audit::Event, changed, now, nth_row, text};

/// For whom a policy is: a tenant, or all.
#[derive(Clone, Copy)]
pub(crate) enum PolicyScope<'a> {
    Authority,
    Tenant(&'a str),
}

/// One version of a policy.
#[derive(Serialize)]
pub(crate) struct PolicyVersion {
    #[serde(flatten)]
    /// Its version, digest, actor, reason and date. Version 0 is what held before anybody wrote one.
    pub(crate) head: Row,
    pub(crate) policy: Box<RawValue>,
}

/// A policy to be written.
pub(crate) struct NewPolicy<'a> {
    pub(crate) document: &'a str,
    pub(crate) digest: &'a str,
    /// `{"namespace/name": "version"}`, if any.
    pub(crate) pins: Option<&'a str>,
    /// The version that this one was made of; written only where that is still the last.
    pub(crate) if_version: Option<u32>,
}

pub(crate) enum PolicyWrite {
    Written(Row),
    /// It says what is in force already.
    Unchanged(Row),
    /// Somebody else was faster; this is the version now.
    Outdated(u64),
    NoSuchTenant,
}

/// When each pin of ?3 was made: one that was there before stays as old as it is, so that a policy
/// that is written anew pins nothing anew.
const PINNED_AT: &str = "pinned_at = (SELECT json_group_object(p.key,
  iif(pins ->> p.key = p.value, coalesce(pinned_at ->> p.key, ?5), ?5)) FROM json_each(?3) p)";

const HEAD: &str = "version, digest, actor, reason, strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at";

impl<'a> PolicyScope<'a> {
    /// As the table of policies has it.
    fn key(self) -> &'a str {
        match self {
            Self::Authority => "",
            Self::Tenant(tenant_id) => tenant_id,
        }
    }
}

impl Store {
    /// The version in force, or an older one. `None`: no such tenant, or no such version.
    pub(crate) async fn policy(
        &self,
        scope: PolicyScope<'_>,
        version: Option<u32>,
    ) -> Result<Option<PolicyVersion>, StoreError> {
        let sql = format!(
            "SELECT {HEAD}, document FROM policies
             WHERE scope = ?1 AND version = coalesce(?2, (SELECT max(version) FROM policies WHERE scope = ?1))"
        );
        let version = version.map_or(wasm_bindgen::JsValue::NULL, Into::into);
        let mut rows = self.rows(&sql, vec![scope.key().into(), version]).await?;
        rows.pop().map(PolicyVersion::read).transpose()
    }

    /// Up to `limit` versions before the given one, newest first.
    pub(crate) async fn policy_history(
        &self,
        scope: PolicyScope<'_>,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Page<Row>, StoreError> {
        let sql = format!(
            "SELECT {HEAD} FROM policies WHERE scope = ?1 AND version < ?2
             ORDER BY version DESC LIMIT ?3"
        );
        let before = before.unwrap_or(u32::MAX).into();
        let rows = self
            .rows(&sql, vec![scope.key().into(), before, (limit + 1).into()])
            .await?;
        Ok(Page::new(rows, limit))
    }

    /// In one transaction: the version, its audit row, and its coming into force.
    pub(crate) async fn write_policy(
        &self,
        scope: PolicyScope<'_>,
        policy: &NewPolicy<'_>,
        actor: &str,
        reason: &str,
    ) -> Result<PolicyWrite, StoreError> {
        let select =
            format!("SELECT {HEAD} FROM policies WHERE scope = ?1 ORDER BY version DESC LIMIT 1");
        let in_force = vec![
            scope.key().into(),
            policy.digest.into(),
            text(policy.pins),
            policy.document.into(),
            now(),
        ];
        let (table, which, subject) = match scope {
            PolicyScope::Authority => ("authority", "id = 1 AND ?1 = ''", "authority"),
            PolicyScope::Tenant(tenant_id) => ("tenants", "tenant_id = ?1", tenant_id),
        };
        let bring_into_force = format!(
            "UPDATE {table} SET policy_digest = ?2, {PINNED_AT}, pins = ?3, policy = ?4
             WHERE {which} AND changes() > 0"
        );
        let if_version = policy
            .if_version
            .map_or(wasm_bindgen::JsValue::NULL, Into::into);
        let mut results = self
            .batch(vec![
                (
                    "INSERT INTO policies (scope, version, digest, actor, reason, at, document)
                     SELECT ?1, last + 1, ?2, ?3, ?4, ?5, ?6 FROM (
                       SELECT coalesce(max(version), 0) AS last FROM policies WHERE scope = ?1
                     )
                     WHERE (?1 = '' OR EXISTS (SELECT 1 FROM tenants WHERE tenant_id = ?1))
                       AND last = coalesce(?7, last)
                       AND ?2 IS NOT (SELECT digest FROM policies WHERE scope = ?1 AND version = last)",
                    vec![
                        scope.key().into(),
                        policy.digest.into(),
                        actor.into(),
                        reason.into(),
                        now(),
                        policy.document.into(),
                        if_version,
                    ],
                ),
                Event {
                    actor,
                    action: match scope {
                        PolicyScope::Authority => "policy.set",
                        PolicyScope::Tenant(_) => "tenant.policy.set",
                    },
                    subject,
                    reason: Some(reason),
                    detail: Some(&format!("digest {}", policy.digest)),
                }
                .if_changed(),
                (&bring_into_force, in_force),
                (&select, vec![scope.key().into()]),
                (
                    "SELECT 1 FROM tenants WHERE tenant_id = ?1",
                    vec![scope.key().into()],
                ),
            ])
            .await?;
        let last = nth_row(&mut results, 3)?;
        let is_known =
            matches!(scope, PolicyScope::Authority) || nth_row(&mut results, 4)?.is_some();
        Ok(match last {
            _ if !is_known => PolicyWrite::NoSuchTenant,
            Some(head) if changed(&results, 0)? => PolicyWrite::Written(head),
            Some(head) if head.text("digest") == policy.digest => PolicyWrite::Unchanged(head),
            last => {
                PolicyWrite::Outdated(last.and_then(|head| head.number("version")).unwrap_or(0))
            }
        })
    }
}

impl PolicyVersion {
    fn read(mut row: Row) -> Result<Self, StoreError> {
        let document = row.required("document")?;
        row.remove("document");
        Ok(Self {
            head: row,
            policy: RawValue::from_string(document)
                .map_err(|error| StoreError::Unavailable(format!("a policy: {error}")))?,
        })
    }
}
