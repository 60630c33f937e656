use mcp_connect_client::{
    Algorithm, Connection, SenderKey, ServerFault, ServerRefusal, json_object,
};
use rmcp::{
    ClientServiceExt, ServiceError,
    model::{CallToolRequestParams, CallToolResult, ContentBlock, JsonObject, ProtocolVersion},
    service::{ClientInitializeError, ClientLifecycleMode},
};
use tokio::time::timeout;

use crate::{cli::CallArgs, config::Settings, failure::Failure, output};

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
        return Err(Failure::no("the tool reports an error").code("tool_error"));
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
    let authority_url = authority.issuer().to_owned();
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
    let asked = Asked {
        authority: authority_url,
        server: args.server_ref.name.to_string(),
    };
    let server =
        ().serve_with_lifecycle(connection.transport(), lifecycle)
            .await
            .map_err(|error| of_start(&error, &connection, &asked))?;
    let mut request = CallToolRequestParams::new(args.tool);
    request.arguments = arguments;
    let result = server
        .call_tool(request)
        .await
        .map_err(|error| of_call(&error, &connection, &asked));
    // Ends the session, where there is one; the result is there already.
    let _ = server.cancel().await;
    result
}

fn parse_arguments(text: &str) -> Result<JsonObject, Failure> {
    json_object(text.as_bytes()).map_err(|problem| {
        Failure::usage(format!(
            "the tool's arguments are not a JSON object: {problem}"
        ))
        .hint(r#"write them like '{"city": "Oslo"}'"#)
    })
}

/// What the call was meant for.
struct Asked {
    authority: String,
    server: String,
}

fn of_start(error: &ClientInitializeError, connection: &Connection, asked: &Asked) -> Failure {
    let endpoint = connection.endpoint();
    match (error, connection.fault()) {
        (_, Some(fault)) => of_fault(&fault, endpoint, asked),
        (ClientInitializeError::LegacyFallbackFailed { fallback, .. }, None) => {
            of_start(fallback, connection, asked)
        }
        (ClientInitializeError::JsonRpcError(error), None) => Failure::no(format!(
            "the server at {endpoint} does not begin: {} (JSON-RPC error {})",
            error.message, error.code.0
        )),
        (ClientInitializeError::NoCompatibleProtocolVersion { .. }, None) => Failure::no(format!(
            "the server at {endpoint} speaks no version of MCP that this program does"
        )),
        _ => Failure::unavailable(format!(
            "the server at {endpoint} closed the connection before it began"
        )),
    }
}

fn of_call(error: &ServiceError, connection: &Connection, asked: &Asked) -> Failure {
    let endpoint = connection.endpoint();
    match (error, connection.fault()) {
        // The server's own answer, such as "no such tool".
        (ServiceError::McpError(error), _) => Failure::no(format!(
            "the server at {endpoint} refuses the call of this tool: {} (JSON-RPC error {})",
            error.message, error.code.0
        )),
        (_, Some(fault)) => of_fault(&fault, endpoint, asked),
        (ServiceError::UnexpectedResponse, None) => Failure::no(format!(
            "the server at {endpoint} answers with something else than the result of a tool"
        )),
        _ => Failure::unavailable(format!(
            "the server at {endpoint} closed the connection before there was a result"
        ))
        .hint("the tool may have run nevertheless"),
    }
}

fn of_fault(fault: &ServerFault, endpoint: &str, asked: &Asked) -> Failure {
    match fault {
        ServerFault::Refused(refusal) => of_refusal(refusal, endpoint, asked),
        ServerFault::NotConnected(reason) => Failure::no(reason.to_string()),
        ServerFault::Challenge(_) => Failure::no(format!("the server at {endpoint}: {fault}"))
            .hint("connectctl shows servers nothing but the descriptor; use a client that can log in there"),
        ServerFault::AnswerTooLarge(_) => Failure::unavailable(format!("the server at {endpoint}: {fault}"))
            .hint("ask for less at a time, if the tool can; it may have run nevertheless"),
        ServerFault::BrokenOff => Failure::unavailable(format!("the answer of the server at {endpoint} broke off"))
            .hint("the tool may have run nevertheless"),
        _ => Failure::unavailable(format!("the server at {endpoint}: {fault}")),
    }
}

/// One sentence: who refuses, its code, and what differs.
fn of_refusal(refusal: &ServerRefusal, endpoint: &str, asked: &Asked) -> Failure {
    let differs =
        |theirs: &Option<String>, ours: &str| theirs.as_deref().is_some_and(|it| it != ours);
    let authority = refusal.authority.as_deref().unwrap_or("another");
    let why = match refusal.code.as_str() {
        "authority_unreachable" => format!("it can't get the keys of its authority, {authority}"),
        _ if differs(&refusal.authority, &asked.authority) => format!(
            "this server trusts the authority {authority}; you asked {}",
            asked.authority
        ),
        _ if differs(&refusal.server_ref, &asked.server) => format!(
            "this server is {} by its own settings; you asked for {}",
            refusal.server_ref.as_deref().unwrap_or_default(),
            asked.server
        ),
        "descriptor_wrong_audience" => {
            "by its own settings its URL is another than the one that the authority knows".to_owned()
        }
        "descriptor_expired" => {
            "by its clock the descriptor has expired; compare its clock with the authority's".to_owned()
        }
        "descriptor_revoked" => "the authority has revoked what it was given".to_owned(),
        "descriptor_missing" => "the descriptor did not reach it; something on the way takes the header MCP-Connect off".to_owned(),
        "descriptor_invalid" => {
            "it trusts the same authority under the same name, so the reason is in its log: keys, clock or profile".to_owned()
        }
        _ => refusal.message.clone(),
    };
    let message = format!(
        "the server at {endpoint} refuses this call ({}): {why}",
        refusal.code
    );
    let failure = if matches!(
        refusal.code.as_str(),
        "authority_unreachable" | "session_ended"
    ) {
        Failure::unavailable(message).hint("try again in a few seconds")
    } else {
        Failure::no(message)
    };
    failure.code(&refusal.code)
}

fn shown(block: &ContentBlock) -> String {
    match block.as_text() {
        Some(text) => output::printable_lines(&text.text),
        None => "[content that is no text: --json shows it]".into(),
    }
}
