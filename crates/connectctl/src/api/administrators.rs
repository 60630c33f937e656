use std::ops::Not;

use mcp_connect_client::ConnectError;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Admin, Changed, segment};
use crate::{
    cli::{Life, NewKeyArgs, RotationArgs, Why},
    paging::Page,
};

/// Somebody who may use `/v1/admin`.
#[derive(Deserialize, Serialize)]
pub(crate) struct Administrator {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_identity: Option<String>,
    pub(crate) created_at: String,
}

/// A key of an administrator, without its secret.
#[derive(Deserialize, Serialize)]
pub(crate) struct AdministratorKey {
    pub(crate) key_id: String,
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    pub(crate) created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<String>,
}

/// Something new, with the key that is shown this once.
#[derive(Deserialize, Serialize)]
pub(crate) struct WithKey<T> {
    #[serde(flatten)]
    pub(crate) subject: T,
    pub(crate) key: String,
}

/// Who the authority says that we are.
#[derive(Deserialize, Serialize)]
pub(crate) struct WhoAmI {
    pub(crate) name: String,
    pub(crate) role: String,
}

/// What a new key is to be.
#[derive(Serialize)]
pub(crate) struct NewKey<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<&'a str>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
}

impl<'a> NewKey<'a> {
    pub(crate) fn new(args: &'a NewKeyArgs, why: &'a Why) -> Self {
        Self {
            label: args.label.as_deref(),
            expires_in: args.life.and_then(Life::seconds),
            reason: why.reason.as_deref(),
        }
    }
}

/// What takes the place of all keys of somebody.
#[derive(Serialize)]
pub(crate) struct Rotation<'a> {
    overlap_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Not::not")]
    never_expires: bool,
    reason: &'a str,
}

impl<'a> Rotation<'a> {
    pub(crate) fn new(args: &'a RotationArgs, reason: &'a str) -> Self {
        Self {
            overlap_seconds: args.overlap,
            label: args.label.as_deref(),
            expires_in: args.life.and_then(Life::seconds),
            never_expires: args.life == Some(Life::Endless),
            reason,
        }
    }
}

#[derive(Deserialize)]
struct AdministratorPage {
    administrators: Vec<Administrator>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct KeyList {
    keys: Vec<AdministratorKey>,
}

impl Admin {
    pub(crate) async fn whoami(&self) -> Result<WhoAmI, ConnectError> {
        let path = "/v1/admin/whoami";
        self.authority.call(Method::GET, path, None::<&()>).await
    }

    pub(crate) async fn create_administrator(
        &self,
        name: &str,
        role: &str,
        key: NewKey<'_>,
    ) -> Result<WithKey<Administrator>, ConnectError> {
        #[derive(Serialize)]
        struct Body<'a> {
            name: &'a str,
            role: &'a str,
            #[serde(flatten)]
            key: NewKey<'a>,
        }
        let body = Body { name, role, key };
        self.post("/v1/admin/administrators", &body).await
    }

    pub(crate) async fn administrators(
        &self,
        cursor: Option<&str>,
    ) -> Result<Page<Administrator>, ConnectError> {
        let page: AdministratorPage = self.page("/v1/admin/administrators", cursor, 100).await?;
        Ok(Page {
            items: page.administrators,
            next_cursor: page.next_cursor,
        })
    }

    /// `change` is `suspend` or `resume`.
    pub(crate) async fn change_administrator(
        &self,
        name: &str,
        change: &str,
        reason: &str,
    ) -> Result<Changed<Administrator>, ConnectError> {
        let path = format!("/v1/admin/administrators/{}/{change}", segment(name));
        self.post(&path, &json!({ "reason": reason })).await
    }

    pub(crate) async fn set_role(
        &self,
        name: &str,
        role: &str,
        reason: &str,
    ) -> Result<Changed<Administrator>, ConnectError> {
        let path = format!("/v1/admin/administrators/{}/role", segment(name));
        self.post(&path, &json!({ "role": role, "reason": reason }))
            .await
    }

    pub(crate) async fn set_access_identity(
        &self,
        name: &str,
        identity: Option<&str>,
        reason: &str,
    ) -> Result<Changed<Administrator>, ConnectError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            access_identity: Option<&'a str>,
            reason: &'a str,
        }
        let path = format!("/v1/admin/administrators/{}/access-identity", segment(name));
        let body = Body {
            access_identity: identity,
            reason,
        };
        self.post(&path, &body).await
    }

    pub(crate) async fn create_administrator_key(
        &self,
        name: &str,
        key: NewKey<'_>,
    ) -> Result<WithKey<AdministratorKey>, ConnectError> {
        let path = format!("/v1/admin/administrators/{}/keys", segment(name));
        self.post(&path, &key).await
    }

    pub(crate) async fn rotate_administrator_keys(
        &self,
        name: &str,
        rotation: &Rotation<'_>,
    ) -> Result<WithKey<AdministratorKey>, ConnectError> {
        let path = format!("/v1/admin/administrators/{}/keys/rotate", segment(name));
        self.post(&path, rotation).await
    }

    pub(crate) async fn administrator_keys(
        &self,
        name: &str,
    ) -> Result<Vec<AdministratorKey>, ConnectError> {
        let path = format!("/v1/admin/administrators/{}/keys", segment(name));
        let list: KeyList = self.authority.call(Method::GET, &path, None::<&()>).await?;
        Ok(list.keys)
    }

    pub(crate) async fn revoke_administrator_key(
        &self,
        name: &str,
        key_id: &str,
        reason: &str,
    ) -> Result<Changed<AdministratorKey>, ConnectError> {
        let path = format!(
            "/v1/admin/administrators/{}/keys/{}/revoke",
            segment(name),
            segment(key_id)
        );
        self.post(&path, &json!({ "reason": reason })).await
    }
}
