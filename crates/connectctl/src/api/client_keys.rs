use mcp_connect_client::ConnectError;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Admin, Changed, NewKey, Rotation, segment};

/// An API key of a client, without its secret.
#[derive(Deserialize, Serialize)]
pub(crate) struct ClientKey {
    pub(crate) key_id: String,
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    pub(crate) created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<String>,
}

/// A new key, shown this once.
#[derive(Deserialize, Serialize)]
pub(crate) struct CreatedKey {
    #[serde(flatten)]
    pub(crate) key: ClientKey,
    pub(crate) api_key: String,
}

#[derive(Deserialize)]
struct KeyList {
    keys: Vec<ClientKey>,
}

impl Admin {
    pub(crate) async fn create_client_key(
        &self,
        client_id: &str,
        key: NewKey<'_>,
    ) -> Result<CreatedKey, ConnectError> {
        self.post(&path(client_id, ""), &key).await
    }

    pub(crate) async fn rotate_client_keys(
        &self,
        client_id: &str,
        rotation: &Rotation<'_>,
    ) -> Result<CreatedKey, ConnectError> {
        self.post(&path(client_id, "/rotate"), rotation).await
    }

    pub(crate) async fn client_keys(
        &self,
        client_id: &str,
    ) -> Result<Vec<ClientKey>, ConnectError> {
        let path = path(client_id, "");
        let list: KeyList = self.authority.call(Method::GET, &path, None::<&()>).await?;
        Ok(list.keys)
    }

    pub(crate) async fn revoke_client_key(
        &self,
        client_id: &str,
        key_id: &str,
        reason: &str,
    ) -> Result<Changed<ClientKey>, ConnectError> {
        let path = path(client_id, &format!("/{}/revoke", segment(key_id)));
        self.post(&path, &json!({ "reason": reason })).await
    }
}

fn path(client_id: &str, rest: &str) -> String {
    format!("/v1/admin/clients/{}/keys{rest}", segment(client_id))
}
