use mcp_connect_client::{Algorithm, Connection, SenderKey};
use rmcp::{
    ClientServiceExt, ServiceError,
    model::{CallToolRequestParams, CallToolResult, ContentBlock, JsonObject, ProtocolVersion},
    service::{ClientInitializeError, ClientLifecycleMode},
};
use tokio::time::timeout;

use crate::{
    cli::CallArgs,
    config::Settings,
    failure::{Failure, with_causes},
    output,
};

pub(crate) async fn run(args: CallArgs, settings: &Settings, json: bool) -> Result<(), Failure> {
    let limit = args.timeout;
    let result = timeout(limit, call(args, settings)).await.map_err(|_| {
        Failure::unavailable(format!("no result within {} s", limit.as_secs()))
            .hint("--timeout gives it longer")
    })??;

    if json {
        output::json(&result)?;
    } else {
        for block in &result.content {
            output::line(&shown(block))?;
        }
        if let Some(value) = result
            .structured_content
            .as_ref()
            .filter(|_| result.content.is_empty())
        {
            output::json(value)?;
        }
    }
    if result.is_error == Some(true) {
        return Err(Failure::no("the tool reports an error"));
    }
    Ok(())
}

async fn call(args: CallArgs, settings: &Settings) -> Result<CallToolResult, Failure> {
    let arguments = args.arguments.as_deref().map(parse_arguments).transpose()?;
    let mut authority = settings.client()?;
    if args.strict {
        authority = authority.strict();
    }
    if args.bind {
        authority = authority.bound_to_key(SenderKey::generate(Algorithm::EdDsa)?);
    }
    let connection = Connection::open(authority, &args.server_ref.to_string()).await?;
    let offset = connection.current().ok().map(|grant| grant.clock_offset());
    if let Some(offset) = offset.filter(|offset| offset.matters()) {
        output::warn(&offset.to_string());
    }
    // The era of 2026-07-28, or the one before where the server is older.
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    };
    let server =
        ().serve_with_lifecycle(connection.transport(), lifecycle)
            .await
            .map_err(|error| of_start(&error, &connection))?;
    let mut request = CallToolRequestParams::new(args.tool);
    request.arguments = arguments;
    let result = server
        .call_tool(request)
        .await
        .map_err(|error| of_call(&error, &connection));
    // Ends the session, where there is one; the result is there already.
    let _ = server.cancel().await;
    result
}

fn parse_arguments(text: &str) -> Result<JsonObject, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::usage(format!("the tool's arguments are no JSON object: {error}"))
            .hint(r#"write them like '{"city": "Oslo"}'"#)
    })
}

fn of_start(error: &ClientInitializeError, connection: &Connection) -> Failure {
    Failure::unavailable(with_causes(error)).context(connection.endpoint())
}

fn of_call(error: &ServiceError, connection: &Connection) -> Failure {
    let message = with_causes(error);
    match error {
        // The server's own answer, such as "no such tool".
        ServiceError::McpError(_) => Failure::no(message),
        _ => Failure::unavailable(message),
    }
    .context(connection.endpoint())
}

fn shown(block: &ContentBlock) -> String {
    match block.as_text() {
        Some(text) => output::printable_lines(&text.text),
        None => "[content that is no text: --json shows it]".into(),
    }
}
