//! Who administers: found out before a request's body is read.

use http::{Method, StatusCode};

use super::{
    App, access_tokens,
    call::{Answer, Auditor, Call, MetricsReader, Moderator, Operator},
    limits::Visitor,
    problem::Problem,
    provider_keys::Unproven,
    routes::Handler,
};
use crate::{
    authority::{
        Administrator, AdministratorKey, CredentialHash, NotAdmitted, Role, admit_administrator,
        admit_by_access, bearer,
    },
    platform::{Access, http::Head, log, now_millis},
};

/// A handler with who may ask it.
pub(super) enum Admitted {
    Anyone(fn(&Call) -> Answer<'_>),
    MetricsReader(
        for<'a> fn(&'a Call, &'a MetricsReader) -> Answer<'a>,
        MetricsReader,
    ),
    Auditor(for<'a> fn(&'a Call, &'a Auditor) -> Answer<'a>),
    Moderator(for<'a> fn(&'a Call, &'a Moderator) -> Answer<'a>, Moderator),
    Operator(for<'a> fn(&'a Call, &'a Operator) -> Answer<'a>, Operator),
}

impl Admitted {
    pub(super) fn handle<'a>(&'a self, call: &'a Call) -> Answer<'a> {
        match self {
            Self::Anyone(handler) => handler(call),
            Self::MetricsReader(handler, reader) => handler(call, reader),
            Self::Auditor(handler) => handler(call, &Auditor),
            Self::Moderator(handler, moderator) => handler(call, moderator),
            Self::Operator(handler, operator) => handler(call, operator),
        }
    }
}

/// Whoever has not the role that the handler wants is refused.
pub(super) async fn admit(
    handler: Handler,
    route: &str,
    head: &Head,
    app: &App,
    visitor: &Visitor,
) -> Result<Admitted, Problem> {
    let role = match handler {
        Handler::Anyone(handler) => return Ok(Admitted::Anyone(handler)),
        Handler::MetricsReader(_) => Role::Metrics,
        Handler::Auditor(_) => Role::Auditor,
        Handler::Moderator(_) => Role::Moderator,
        Handler::Operator(_) => Role::Operator,
    };
    let administrator = administrator(head, app, visitor).await.inspect_err(|_| {
        // The route, not the path: somebody may have put a key there.
        log::info("administrator_refused", &[("route", route)]);
    })?;
    if administrator.role < role {
        let members = [("route", route), ("actor", &administrator.name)];
        log::info("administrator_refused", &members);
        return Err(Problem::role_insufficient(&administrator, role));
    }
    Ok(match handler {
        Handler::Anyone(handler) => Admitted::Anyone(handler),
        Handler::MetricsReader(handler) => {
            Admitted::MetricsReader(handler, MetricsReader(administrator))
        }
        Handler::Auditor(handler) => Admitted::Auditor(handler),
        Handler::Moderator(handler) => Admitted::Moderator(handler, Moderator(administrator)),
        Handler::Operator(handler) => Admitted::Operator(handler, Operator(administrator)),
    })
}

async fn administrator(
    head: &Head,
    app: &App,
    visitor: &Visitor,
) -> Result<Administrator, Problem> {
    let verdict = authenticate(head, app).await;
    match &verdict {
        Ok(_) => visitor.is_administrator(),
        Err(problem) if !problem.is_ours() => visitor.is_nobody(),
        Err(_) => {}
    }
    verdict
}

/// Each way in which an administrator can show who they are. What can't be a key costs no query.
async fn authenticate(head: &Head, app: &App) -> Result<Administrator, Problem> {
    if let (None, Some(token)) = (&head.authorization, &head.access_assertion) {
        let access = app.settings.access()?.ok_or(NotAdmitted::Unknown)?;
        refuse_other_sites(head)?;
        return authenticate_by_access(token, access, app).await;
    }
    let token = head
        .authorization
        .as_deref()
        .and_then(bearer)
        .ok_or(NotAdmitted::Unknown)?;
    if let Some(key) = AdministratorKey::parse(token) {
        let facts = app.store.administrator_facts(key.key_id()).await?;
        return Ok(admit_administrator(&key, facts, now_millis())?);
    }
    let is_operator_token = app
        .settings
        .operator_token()?
        .is_some_and(|expected| CredentialHash::of(token).matches(expected));
    if is_operator_token {
        return Ok(Administrator::bootstrap());
    }
    let access = app.settings.access()?.filter(|_| token.contains('.'));
    authenticate_by_access(token, access.ok_or(NotAdmitted::Unknown)?, app).await
}

/// A browser shows its cookie for whatever page asks, and Access adds its header; but only our own
/// pages can send JSON.
fn refuse_other_sites(head: &Head) -> Result<(), Problem> {
    let is_json = head
        .content_type
        .as_deref()
        .is_some_and(|kind| kind.starts_with("application/json"));
    if head.method == Method::GET || is_json {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "request_invalid",
        "through Cloudflare Access, send Content-Type: application/json",
    ))
}

/// By a token of Cloudflare Access, which it adds to requests, or `cloudflared` gives out.
async fn authenticate_by_access(
    token: &str,
    access: &Access,
    app: &App,
) -> Result<Administrator, Problem> {
    let identity = match access_tokens::access_identity(app, token, access).await {
        Ok(identity) => identity,
        Err(Unproven::Refused(fault)) => {
            let problem = fault.to_string();
            let members = [("issuer", &*access.team_domain), ("problem", &problem)];
            log::info("access_refused", &members);
            return Err(NotAdmitted::Unknown.into());
        }
        Err(error) => {
            let problem = error.to_string();
            return Err(Problem::authority_unavailable("access_unchecked", &problem));
        }
    };
    let facts = app.store.access_facts(&identity).await?;
    Ok(admit_by_access(facts)?)
}

impl From<NotAdmitted> for Problem {
    fn from(refusal: NotAdmitted) -> Self {
        Self::unauthenticated(refusal.to_string())
    }
}

impl Problem {
    fn role_insufficient(administrator: &Administrator, needed: Role) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "role_insufficient",
            format!(
                "this needs the role {}; {}'s is {}",
                needed.as_str(),
                administrator.name,
                administrator.role.as_str()
            ),
        )
    }
}
