use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::request::Parts;
use mcp_connect_verifier::Verified;
use rmcp::{
    ErrorData, Json, RoleServer, ServerHandler,
    handler::server::{tool::Extension, wrapper::Parameters},
    model::{Implementation, ProgressNotificationParam, ServerCapabilities, ServerConfig},
    schemars,
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{select, time::interval};

pub(crate) const LONGEST_TICK: Duration = Duration::from_mins(10);

/// What the server offers. Each tool is honest about what it does: no state, no side effects.
#[derive(Clone)]
pub(crate) struct Tools {
    server_id: Arc<str>,
}

#[derive(Deserialize, JsonSchema)]
struct EchoInput {
    /// What to say.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct AddInput {
    /// The first summand.
    a: i64,
    /// The second summand.
    b: i64,
}

#[derive(JsonSchema, Serialize)]
struct AddOutput {
    sum: i64,
}

#[derive(JsonSchema, Serialize)]
struct WhoamiOutput {
    /// This server's name in the registry.
    server_id: String,
    /// The descriptor that governs this request, unless it is ungoverned.
    descriptor: Option<DescriptorOutput>,
}

#[derive(JsonSchema, Serialize)]
struct DescriptorOutput {
    client_id: Option<String>,
    tenant_id: Option<String>,
    jti: String,
    /// Whole seconds until it expires; 0 within the leeway after that.
    seconds_left: u64,
}

#[derive(Deserialize, JsonSchema)]
struct TickInput {
    /// How long to take, 1 to 600.
    #[schemars(range(min = 1, max = 600))]
    seconds: u16,
}

#[derive(JsonSchema, Serialize)]
struct TickOutput {
    ticks: u16,
}

#[tool_router]
impl Tools {
    pub(crate) fn new(server_id: &str) -> Self {
        Self {
            server_id: server_id.into(),
        }
    }

    #[tool(description = "Returns the text.", annotations(read_only_hint = true))]
    async fn echo(&self, Parameters(input): Parameters<EchoInput>) -> String {
        input.text
    }

    #[tool(
        description = "Adds two 64-bit integers.",
        annotations(read_only_hint = true)
    )]
    async fn add(
        &self,
        Parameters(AddInput { a, b }): Parameters<AddInput>,
    ) -> Result<Json<AddOutput>, String> {
        match a.checked_add(b) {
            Some(sum) => Ok(Json(AddOutput { sum })),
            None => Err(format!("{a} + {b} does not fit into 64 bits")),
        }
    }

    #[tool(
        description = "Says what the connect descriptor of this request says about its caller.",
        annotations(read_only_hint = true)
    )]
    async fn whoami(&self, Extension(request): Extension<Parts>) -> Json<WhoamiOutput> {
        let verified = request.extensions.get::<Verified>();
        Json(WhoamiOutput {
            server_id: self.server_id.to_string(),
            descriptor: verified.map(|verified| DescriptorOutput {
                client_id: verified.client_id.clone(),
                tenant_id: verified.tenant_id.clone(),
                jti: verified.jti.clone(),
                seconds_left: verified.expires_at.saturating_sub(unix_seconds()),
            }),
        })
    }

    #[tool(
        description = "Takes some seconds, and reports progress each second to whom asks for it.",
        annotations(read_only_hint = true)
    )]
    async fn tick(
        &self,
        Parameters(TickInput { seconds }): Parameters<TickInput>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<TickOutput>, ErrorData> {
        if !(1..=LONGEST_TICK.as_secs()).contains(&seconds.into()) {
            return Err(ErrorData::invalid_params("seconds must be 1 to 600", None));
        }
        let token = context.meta.get_progress_token();
        let mut each_second = interval(Duration::from_secs(1));
        each_second.tick().await; // the first one is at once
        for tick in 1..=seconds {
            select! {
                () = context.ct.cancelled() => {
                    return Err(ErrorData::internal_error("cancelled", None));
                }
                _ = each_second.tick() => {}
            }
            if let Some(token) = &token {
                let progress = ProgressNotificationParam::new(token.clone(), tick.into())
                    .with_total(seconds.into());
                if let Err(error) = context.peer.notify_progress(progress).await {
                    tracing::debug!(%error, "nobody hears of the progress");
                }
            }
        }
        Ok(Json(TickOutput { ticks: seconds }))
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build()).with_server_info(
            Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        )
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
