//! Who administers: found out once per request, before its body is read, and carried in the
//! request's extensions.

use axum::extract::MatchedPath;
use http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts};

use super::{App, is_administration, limits::Visitor, problem::Problem};
use crate::{
    authority::{
        Administrator, AdministratorKey, CredentialHash, NotAdmitted, Role, admit_administrator,
        bearer,
    },
    platform::{log, now_millis},
};

/// What became of the credential of a request below `/v1/admin`.
#[derive(Clone)]
struct Verdict(Result<Administrator, Problem>);

/// To be called before the body is read; elsewhere than below `/v1/admin` it does nothing.
pub(crate) async fn authenticate(head: &mut Parts, app: &App) {
    if is_administration(head.uri.path()) {
        let verdict = authenticate_administrator(&head.headers, app).await;
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
async fn authenticate_administrator(
    headers: &HeaderMap,
    app: &App,
) -> Result<Administrator, Problem> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|header| header.to_str().ok())
        .and_then(bearer)
        .ok_or(NotAdmitted::Unknown)?;
    if let Some(key) = AdministratorKey::parse(token) {
        let facts = app.store.administrator_facts(key.key_id()).await?;
        return Ok(admit_administrator(&key, facts, now_millis())?);
    }
    app.settings
        .operator_token()?
        .filter(|expected| CredentialHash::of(token).matches(expected))
        .map(|_| Administrator::bootstrap())
        .ok_or(NotAdmitted::Unknown.into())
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
