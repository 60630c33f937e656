use serde_json::{Map, Value, json};

use crate::{cli::ConnectArgs, config::Settings, failure::Failure, output};

pub(crate) async fn run(
    args: &ConnectArgs,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let mut authority = settings.client()?;
    if args.strict {
        authority = authority.strict();
    }
    let grant = authority.connect(&args.server_ref.to_string()).await?;
    let claims = grant.claims();
    if grant.clock_offset().matters() {
        output::warn(&grant.clock_offset().to_string());
    }
    if json {
        let mut answer = Map::from_iter([
            ("endpoint".to_owned(), json!(grant.endpoint())),
            ("expires_at".to_owned(), json!(grant.expires_at())),
            (
                "refresh_after".to_owned(),
                json!(grant.refresh_after().as_secs()),
            ),
            ("jti".to_owned(), json!(claims.jti)),
            ("server".to_owned(), json!(grant.server())),
        ]);
        if args.show_descriptor {
            answer.insert("descriptor".to_owned(), json!(grant.descriptor()));
        }
        for (member, value) in [
            ("client_id", &claims.client_id),
            ("tenant_id", &claims.tenant_id),
        ] {
            if let Some(value) = value {
                answer.insert(member.to_owned(), json!(value));
            }
        }
        return output::json(&Value::Object(answer));
    }
    let lifetime = claims.expires_at.saturating_sub(claims.issued_at);
    output::print_table(&output::record([
        ("server", output::cell(&claims.server.id)),
        ("version", output::cell(&claims.server.version)),
        ("verified", output::verified(claims.server.verified)),
        ("endpoint", output::cell(grant.endpoint())),
        ("lifetime", output::cell(&format!("{lifetime} s"))),
        (
            "refresh",
            output::cell(&format!("after {} s", grant.refresh_after().as_secs())),
        ),
        ("client", output::maybe(claims.client_id.as_deref())),
        ("tenant", output::maybe(claims.tenant_id.as_deref())),
        ("jti", output::cell(&claims.jti)),
    ]))?;
    if args.show_descriptor {
        output::line(grant.descriptor())?;
    }
    Ok(())
}
