use wasm_bindgen::JsValue;

use super::{
    Page, Row, Statement, Status, Store, StoreError, audit::Event, changed, credentials, date, now,
    nth_row, nth_rows, text,
};
use crate::authority::{
    AccessFacts, Administrator, AdministratorFacts, CredentialHash, NewAdministratorKey, PastKey,
    Role,
};

const TABLE: credentials::Table = credentials::Table {
    name: "administrator_keys",
    holder: "name",
};

/// What an operator does to an administrator.
#[derive(Clone, Copy)]
pub(crate) enum AdministratorChange {
    Suspend,
    Resume,
    Role(Role),
}

/// Which doors are open beside that of administrators' keys.
#[derive(Clone, Copy)]
pub(crate) struct Doors {
    /// There is an operator's token.
    pub(crate) token: bool,
    /// Cloudflare Access is set up: without it, an identity there lets nobody in.
    pub(crate) access: bool,
}

impl Doors {
    /// As the statements have it that ask for [`OPERATOR_CAN_ENTER`].
    fn values(self) -> [JsValue; 2] {
        [self.access, self.token].map(|open| u32::from(open).into())
    }
}

/// Whether an operator can get in, other than the one named ?1 and by another key than ?2, where
/// these are given; ?3 is now, ?4 whether Cloudflare Access is set up.
const OPERATOR_CAN_ENTER: &str = "EXISTS (
  SELECT 1 FROM administrators o
  LEFT JOIN administrator_keys k ON k.name = o.name AND k.key_id IS NOT ?2
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > ?3)
  WHERE o.role = 'operator' AND o.status = 'active' AND o.name IS NOT ?1
    AND ((?4 AND o.access_identity IS NOT NULL) OR k.key_id IS NOT NULL))";

fn select(condition: &str) -> String {
    format!(
        "SELECT name, role, status, access_identity, {} AS created_at
         FROM administrators WHERE {condition}",
        date("created_at")
    )
}

/// Of the administrator ?1; ?2 is now.
fn select_keys(condition: &str) -> String {
    format!(
        "SELECT {} FROM administrator_keys k WHERE name = ?1 AND {condition}",
        credentials::columns(),
    )
}

fn insert_key(key: &NewAdministratorKey<'_>, name: &str) -> Statement<'static> {
    (
        "INSERT INTO administrator_keys (key_id, name, secret_hash, label, created_at, expires_at)
         SELECT ?1, name, ?3, ?4, ?5, ?6 FROM administrators WHERE name = ?2",
        credentials::values(key, name),
    )
}

impl Store {
    /// What admitting the owner of a key needs. `None`: no such key.
    pub(crate) async fn administrator_facts(
        &self,
        key_id: &str,
    ) -> Result<Option<AdministratorFacts>, StoreError> {
        let sql = "SELECT a.name, a.role, a.status = 'suspended' AS suspended, k.secret_hash,
                     k.revoked_at IS NOT NULL AS revoked, k.expires_at
                   FROM administrator_keys k JOIN administrators a ON a.name = k.name
                   WHERE k.key_id = ?1";
        let rows = self.rows(sql, vec![key_id.into()]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let Some(secret_hash) = CredentialHash::decode(row.text("secret_hash")) else {
            return Ok(None);
        };
        Ok(Some(AdministratorFacts {
            secret_hash,
            administrator: administrator(row)?,
            suspended: row.flag("suspended"),
            revoked: row.flag("revoked"),
            expires_at: row.number("expires_at"),
        }))
    }

    /// Of the administrator who is this to Cloudflare Access, if one is.
    pub(crate) async fn access_facts(
        &self,
        identity: &str,
    ) -> Result<Option<AccessFacts>, StoreError> {
        let sql = "SELECT name, role, status FROM administrators WHERE access_identity = ?1";
        let rows = self.rows(sql, vec![identity.into()]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(AccessFacts {
            administrator: administrator(row)?,
            suspended: row.one_of::<Status>("status")? != Status::Active,
        }))
    }

    /// The administrator after the change, and whether it was one. `None`: no such administrator. An
    /// identity that is another's is a conflict. Where there is no operator's token, taking one away
    /// needs another operator who can get in.
    pub(crate) async fn set_access_identity(
        &self,
        name: &str,
        identity: Option<&str>,
        doors: Doors,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(Row, bool)>, StoreError> {
        let update = format!(
            "UPDATE administrators SET access_identity = ?6
             WHERE name = ?1 AND access_identity IS NOT ?6
               AND (?6 IS NOT NULL OR ?5 OR role <> 'operator' OR {OPERATOR_CAN_ENTER})"
        );
        let [access, token] = doors.values();
        let select = select("name = ?1");
        let mut results = self
            .batch(vec![
                (
                    &update,
                    vec![
                        name.into(),
                        JsValue::NULL,
                        now(),
                        access,
                        token,
                        text(identity),
                    ],
                ),
                Event {
                    actor,
                    action: "administrator.access_identity",
                    subject: name,
                    reason: Some(reason),
                    detail: identity,
                }
                .if_changed(),
                (&select, vec![name.into()]),
            ])
            .await?;
        let Some(record) = nth_row(&mut results, 2)? else {
            return Ok(None);
        };
        if record.optional("access_identity") != identity {
            return Err(StoreError::LastOperator);
        }
        Ok(Some((record, changed(&results, 0)?)))
    }

    /// Whether a named operator can get in.
    pub(crate) async fn has_operator(&self, doors: Doors) -> Result<bool, StoreError> {
        let sql = format!("SELECT ?5 OR {OPERATOR_CAN_ENTER} AS found");
        let [access, token] = doors.values();
        let values = vec![JsValue::NULL, JsValue::NULL, now(), access, token];
        let rows = self.rows(&sql, values).await?;
        Ok(rows.first().is_some_and(|row| row.flag("found")))
    }

    /// With a first key; a name that is taken is a conflict.
    pub(crate) async fn create_administrator(
        &self,
        name: &str,
        role: Role,
        key: &NewAdministratorKey<'_>,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Row, StoreError> {
        let created = Event {
            actor,
            action: "administrator.create",
            subject: name,
            reason,
            detail: Some(role.as_str()),
        };
        let select = select("name = ?1");
        let mut results = self
            .batch(vec![
                (
                    "INSERT INTO administrators (name, role, created_at) VALUES (?1, ?2, ?3)",
                    vec![name.into(), role.as_str().into(), now()],
                ),
                created.if_changed(),
                insert_key(key, name),
                key_created(name, key, actor, reason),
                (&select, vec![name.into()]),
            ])
            .await?;
        nth_row(&mut results, 4)?
            .ok_or_else(|| StoreError::Unavailable("the administrator can't be read".into()))
    }

    /// Up to `limit` administrators in the order of their names, after the given one.
    pub(crate) async fn list_administrators(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Row>, StoreError> {
        let sql = select("name > coalesce(?1, '') ORDER BY name LIMIT ?2");
        let rows = self
            .rows(&sql, vec![text(after), (limit + 1).into()])
            .await?;
        Ok(Page::new(rows, limit))
    }

    /// The administrator after the change, and whether it was one. `None`: no such administrator.
    /// Where there is no operator's token, some operator has to be able to get in afterwards.
    pub(crate) async fn change_administrator(
        &self,
        name: &str,
        change: AdministratorChange,
        doors: Doors,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(Row, bool)>, StoreError> {
        let (action, status, role) = match change {
            AdministratorChange::Suspend => ("administrator.suspend", Some("suspended"), None),
            AdministratorChange::Resume => ("administrator.resume", Some("active"), None),
            AdministratorChange::Role(role) => ("administrator.role", None, Some(role.as_str())),
        };
        let update = format!(
            "UPDATE administrators SET status = coalesce(?6, status), role = coalesce(?7, role)
             WHERE name = ?1 AND (status, role) IS NOT (coalesce(?6, status), coalesce(?7, role))
               AND (?5 OR {OPERATOR_CAN_ENTER})"
        );
        let [access, token] = doors.values();
        let select = select("name = ?1");
        let mut results = self
            .batch(vec![
                (
                    &update,
                    vec![
                        name.into(),
                        JsValue::NULL,
                        now(),
                        access,
                        token,
                        text(status),
                        text(role),
                    ],
                ),
                Event {
                    actor,
                    action,
                    subject: name,
                    reason: Some(reason),
                    detail: role,
                }
                .if_changed(),
                (&select, vec![name.into()]),
            ])
            .await?;
        let Some(record) = nth_row(&mut results, 2)? else {
            return Ok(None);
        };
        let holds = match change {
            AdministratorChange::Suspend => record.text("status") == Status::Suspended.as_str(),
            AdministratorChange::Resume => record.text("status") == Status::Active.as_str(),
            AdministratorChange::Role(role) => record.text("role") == role.as_str(),
        };
        if !holds {
            return Err(StoreError::LastOperator);
        }
        Ok(Some((record, changed(&results, 0)?)))
    }

    /// `None`: no such administrator.
    pub(crate) async fn create_administrator_key(
        &self,
        name: &str,
        key: &NewAdministratorKey<'_>,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Option<Row>, StoreError> {
        let select = select_keys("key_id = ?3");
        let mut results = self
            .batch(vec![
                insert_key(key, name),
                key_created(name, key, actor, reason),
                (&select, vec![name.into(), now(), key.key.key_id().into()]),
            ])
            .await?;
        nth_row(&mut results, 2)
    }

    /// The keys that a rotation replaces. `None`: no such administrator.
    pub(crate) async fn past_administrator_keys(
        &self,
        name: &str,
    ) -> Result<Option<Vec<PastKey>>, StoreError> {
        let keys = TABLE.past_query();
        let mut results = self
            .read(vec![
                (&select("name = ?1"), vec![name.into()]),
                (&keys, vec![name.into(), now()]),
            ])
            .await?;
        if nth_row(&mut results, 0)?.is_none() {
            return Ok(None);
        }
        let keys = nth_rows(&mut results, 1)?;
        Ok(Some(keys.iter().map(credentials::past_key).collect()))
    }

    /// A new key, and an end for all others: at `others_end`, in milliseconds since the Unix epoch. `None`: no such
    /// administrator.
    pub(crate) async fn rotate_administrator_keys(
        &self,
        name: &str,
        key: &NewAdministratorKey<'_>,
        others_end: u64,
        actor: &str,
        reason: &str,
    ) -> Result<Option<Row>, StoreError> {
        let event = Event {
            actor,
            action: "administrator.key.rotate",
            subject: name,
            reason: Some(reason),
            detail: Some(key.key.key_id()),
        };
        let select = select_keys("key_id = ?3");
        let (end_others, values) = TABLE.end_others(name, key.key.key_id(), others_end);
        let mut results = self
            .batch(vec![
                insert_key(key, name),
                event.if_changed(),
                (&select, vec![name.into(), now(), key.key.key_id().into()]),
                (&end_others, values),
            ])
            .await?;
        nth_row(&mut results, 2)
    }

    /// The newest keys. `None`: no such administrator.
    pub(crate) async fn list_administrator_keys(
        &self,
        name: &str,
    ) -> Result<Option<Vec<Row>>, StoreError> {
        let keys = select_keys(&credentials::newest());
        let mut results = self
            .read(vec![
                (&select("name = ?1"), vec![name.into()]),
                (&keys, vec![name.into(), now()]),
            ])
            .await?;
        if nth_row(&mut results, 0)?.is_none() {
            return Ok(None);
        }
        nth_rows(&mut results, 1).map(Some)
    }

    /// The key after the change, and whether it was one. `None`: the administrator has no such key.
    /// Where there is no operator's token, some operator has to be able to get in afterwards.
    pub(crate) async fn revoke_administrator_key(
        &self,
        name: &str,
        key_id: &str,
        doors: Doors,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(Row, bool)>, StoreError> {
        let update = format!(
            "UPDATE administrator_keys SET revoked_at = ?3
             WHERE name = ?6 AND key_id = ?2 AND revoked_at IS NULL AND (?5 OR {OPERATOR_CAN_ENTER})"
        );
        let [access, token] = doors.values();
        let select = select_keys("key_id = ?3");
        let mut results = self
            .batch(vec![
                (
                    &update,
                    vec![
                        JsValue::NULL,
                        key_id.into(),
                        now(),
                        access,
                        token,
                        name.into(),
                    ],
                ),
                Event {
                    actor,
                    action: "administrator.key.revoke",
                    subject: name,
                    reason: Some(reason),
                    detail: Some(key_id),
                }
                .if_changed(),
                (&select, vec![name.into(), now(), key_id.into()]),
            ])
            .await?;
        let Some(record) = nth_row(&mut results, 2)? else {
            return Ok(None);
        };
        if record.text("status") != "revoked" {
            return Err(StoreError::LastOperator);
        }
        Ok(Some((record, changed(&results, 0)?)))
    }
}

fn administrator(row: &Row) -> Result<Administrator, StoreError> {
    Ok(Administrator {
        name: row.required("name")?,
        role: row.one_of("role")?,
    })
}

/// To stand right after the key's insertion.
fn key_created(
    name: &str,
    key: &NewAdministratorKey<'_>,
    actor: &str,
    reason: Option<&str>,
) -> Statement<'static> {
    Event {
        actor,
        action: "administrator.key.create",
        subject: name,
        reason,
        detail: Some(key.key.key_id()),
    }
    .if_changed()
}
