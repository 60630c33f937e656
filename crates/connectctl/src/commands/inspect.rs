use std::{fmt, path::Path, sync::Arc};

use mcp_connect_descriptor::{
    Confirmation, Descriptor, Expected, KeySet, Refusal, UnverifiedDescriptor, verify,
};
use serde_json::json;

use crate::{cli::InspectArgs, clock::now_seconds, config::Settings, failure::Failure, output};

pub(crate) async fn run(
    args: &InspectArgs,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let input = output::read_input(Path::new("-"))?;
    let token = input.trim();
    let parsed = match UnverifiedDescriptor::parse(token) {
        Ok(parsed) => parsed,
        Err(refusal) => {
            if json {
                output::json(&verdict(None, Err(&refusal)))?;
            }
            return Err(refused(&refusal));
        }
    };
    let key_id = parsed.key_id().to_owned();
    let claims = parsed.into_claims_unverified();

    let (keys, issuer) = if let Some(file) = &args.offline {
        let keys = KeySet::parse(output::read_input(file)?.as_bytes())
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        // Without an authority to compare with, the issuer is whoever it says it is.
        let issuer = settings.issuer().unwrap_or(&claims.issuer);
        (Arc::new(keys), issuer.to_owned())
    } else {
        let authority = settings.anonymous()?;
        (authority.key_set().await?, authority.issuer().to_owned())
    };
    let mut expected = Expected::new(&issuer, &claims.server.id);
    if let Some(audience) = &args.audience {
        expected = expected.audience(audience);
    }
    let now = now_seconds();
    let compared = Compared {
        issuer: settings.issuer().is_some(),
        audience: args.audience.is_some(),
    };
    let checked = verify(token, &keys, &expected, now).map(|_| compared);

    if json {
        output::json(&verdict(
            Some((&claims, &key_id)),
            checked.as_ref().copied(),
        ))?;
    } else {
        show(&claims, &key_id, now)?;
    }
    let compared = checked.map_err(|refusal| refused(&refusal))?;
    if json {
        return Ok(());
    }
    if !compared.issuer {
        output::note("The issuer was not checked: no authority is given.");
    }
    output::line(&format!("good: {compared}"))
}

/// What a good descriptor was held against, beside the keys and the clock.
#[derive(Clone, Copy)]
struct Compared {
    issuer: bool,
    audience: bool,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.issuer, self.audience) {
            (false, false) => "form, signature and lifetime",
            (true, false) => "form, signature, lifetime and issuer",
            (false, true) => "form, signature, lifetime and audience",
            (true, true) => "form, signature, lifetime, issuer and audience",
        })
    }
}

fn refused(refusal: &Refusal) -> Failure {
    Failure::no(format!("{}: {refusal}", refusal.code()))
}

fn verdict(
    descriptor: Option<(&Descriptor, &str)>,
    checked: Result<Compared, &Refusal>,
) -> serde_json::Value {
    let refusal = checked.err();
    let compared = checked.ok();
    let mut verdict = json!({
        "good": refusal.is_none(),
        "code": refusal.map(|refusal| refusal.code().as_str()),
        "reason": refusal.map(ToString::to_string),
        "issuer_checked": compared.map(|compared| compared.issuer),
        "audience_checked": compared.map(|compared| compared.audience),
        "kid": descriptor.map(|(_, key_id)| key_id),
        "claims": descriptor.map(|(claims, _)| claims_json(claims)),
    });
    leave_out_nulls(&mut verdict);
    verdict
}

fn claims_json(claims: &Descriptor) -> serde_json::Value {
    let mut json = json!({
        "iss": claims.issuer,
        "aud": claims.endpoint,
        "iat": claims.issued_at,
        "nbf": claims.not_before,
        "exp": claims.expires_at,
        "jti": claims.jti,
        "client_id": claims.client_id,
        "tenant_id": claims.tenant_id,
        "cnf": claims.confirmation,
        "server": claims.server,
    });
    leave_out_nulls(&mut json);
    json
}

fn leave_out_nulls(json: &mut serde_json::Value) {
    if let Some(members) = json.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
}

fn show(claims: &Descriptor, key_id: &str, now: u64) -> Result<(), Failure> {
    let end = match claims.expires_at.checked_sub(now) {
        Some(left @ 1..) => format!("{} ({left} s left)", claims.expires_at),
        _ => format!(
            "{} ({} s ago)",
            claims.expires_at,
            now.saturating_sub(claims.expires_at)
        ),
    };
    output::print_table(&output::record([
        ("issuer", output::cell(&claims.issuer)),
        ("endpoint", output::cell(&claims.endpoint)),
        ("server", output::cell(&claims.server.id)),
        ("version", output::cell(&claims.server.version)),
        ("verified", output::verified(claims.server.verified)),
        ("client", output::maybe(claims.client_id.as_deref())),
        ("tenant", output::maybe(claims.tenant_id.as_deref())),
        ("bound to", output::maybe(bound_to(claims))),
        ("issued", output::cell(&claims.issued_at.to_string())),
        ("expires", output::cell(&end)),
        ("jti", output::cell(&claims.jti)),
        ("kid", output::cell(key_id)),
    ]))
}

fn bound_to(claims: &Descriptor) -> Option<&'static str> {
    claims.confirmation.as_ref().map(|bound| match bound {
        Confirmation::Jkt(_) => "a key",
        Confirmation::X5tS256(_) => "a client certificate",
        _ => "its sender",
    })
}
