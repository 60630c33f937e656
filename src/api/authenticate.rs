//! Who administers: found out once per request, before its body is read, and carried in the
//! request's extensions.

use axum::extract::MatchedPath;
use http::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Parts,
};

use super::{
    App, access_tokens, is_administration, limits::Visitor, problem::Problem,
    provider_keys::Unproven,
};
use crate::{
    authority::{
        Administrator, AdministratorKey, CredentialHash, NotAdmitted, Role, admit_administrator,
        admit_by_access, bearer,
    },
    platform::{Access, http::ACCESS_ASSERTION, log, now_millis},
};

/// What became of the credential of a request below `/v1/admin`.
#[derive(Clone)]
struct Verdict(Result<Administrator, Problem>);

/// To be called before the body is read; elsewhere than below `/v1/admin` it does nothing.
pub(crate) async fn authenticate(head: &mut Parts, app: &App) {
    if is_administration(head.uri.path()) {
        let verdict = authenticate_administrator(head, app).await;
        match (&verdict, head.extensions.get::<Visitor>()) {
            (Ok(_), Some(visitor)) => visitor.is_administrator(),
            (Err(problem), Some(visitor)) if !problem.is_ours() => visitor.is_nobody(),
            _ => {}
        }
        head.extensions.insert(Verdict(verdict));
    }
}

/// Whether the body of this request is that of an administrator.
pub(super) fn is_administrator(head: &Parts) -> bool {
    matches!(head.extensions.get(), Some(Verdict(Ok(_))))
}

/// The administrator, where their role is enough.
pub(super) fn require(role: Role, head: &Parts) -> Result<Administrator, Problem> {
    let Some(Verdict(verdict)) = head.extensions.get() else {
        return Err(Problem::authority_unavailable(
            "internal_fault",
            "a request for administrators came without a verdict",
        ));
    };
    // The route, not the path: somebody may have put a key there.
    let route = head.extensions.get().map_or("", MatchedPath::as_str);
    let administrator = verdict
        .clone()
        .inspect_err(|_| log::info("administrator_refused", &[("route", route)]))?;
    if administrator.role < role {
        let members = [("route", route), ("actor", &administrator.name)];
        log::info("administrator_refused", &members);
        return Err(Problem::role_insufficient(&administrator, role));
    }
    Ok(administrator)
}

/// Each way in which an administrator can show who they are. What can't be a key costs no query.
async fn authenticate_administrator(head: &Parts, app: &App) -> Result<Administrator, Problem> {
    let headers = &head.headers;
    if let (None, Some(token)) = (headers.get(AUTHORIZATION), headers.get(ACCESS_ASSERTION)) {
        let access = app.settings.access()?.ok_or(NotAdmitted::Unknown)?;
        refuse_other_sites(head)?;
        let token = token.to_str().map_err(|_| NotAdmitted::Unknown)?;
        return authenticate_by_access(token, access, app).await;
    }
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|header| header.to_str().ok())
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
fn refuse_other_sites(head: &Parts) -> Result<(), Problem> {
    let is_json = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
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
            log::info("access_refused", &[("problem", &fault.to_string())]);
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
