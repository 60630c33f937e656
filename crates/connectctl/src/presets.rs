//! What the access tokens of well-known identity providers look like.

use clap::ValueEnum;

/// An identity provider whose access tokens are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Preset {
    /// Microsoft Entra ID, tokens of version 1.0 (the client is `appid`)
    EntraV1,
    /// Microsoft Entra ID, tokens of version 2.0 (the client is `azp`)
    EntraV2,
    /// Okta's custom authorization servers (the client is `cid`)
    Okta,
    /// Auth0 (the client is `azp`, or `client_id` with the RFC 9068 profile)
    Auth0,
    /// Keycloak (the client is `azp`; the claim `typ` must be "Bearer", which ID tokens don't have)
    Keycloak,
    /// Amazon Cognito (the audience and the client are `client_id`; `token_use` must be "access")
    Cognito,
    /// Logto (the client is `client_id`; the header `typ` must be "at+jwt")
    Logto,
}

/// What a preset sets.
pub(crate) struct Rules {
    pub(crate) audience_claim: Option<&'static str>,
    pub(crate) client_claims: &'static [&'static str],
    pub(crate) required_claims: &'static [(&'static str, &'static str)],
    pub(crate) token_type: Option<&'static str>,
}

impl Preset {
    pub(crate) const fn rules(self) -> Rules {
        let none = Rules {
            audience_claim: None,
            client_claims: &[],
            required_claims: &[],
            token_type: None,
        };
        match self {
            Self::EntraV1 => Rules {
                client_claims: &["appid"],
                required_claims: &[("ver", "1.0")],
                ..none
            },
            Self::EntraV2 => Rules {
                client_claims: &["azp"],
                required_claims: &[("ver", "2.0")],
                ..none
            },
            Self::Okta => Rules {
                client_claims: &["cid"],
                ..none
            },
            Self::Auth0 => Rules {
                client_claims: &["azp", "client_id"],
                ..none
            },
            Self::Keycloak => Rules {
                client_claims: &["azp"],
                required_claims: &[("typ", "Bearer")],
                ..none
            },
            Self::Cognito => Rules {
                audience_claim: Some("client_id"),
                client_claims: &["client_id"],
                required_claims: &[("token_use", "access")],
                ..none
            },
            Self::Logto => Rules {
                client_claims: &["client_id"],
                token_type: Some("at+jwt"),
                ..none
            },
        }
    }

    /// A remark if an issuer doesn't look like one of this provider's.
    pub(crate) fn doubt(self, issuer: &str) -> Option<&'static str> {
        let (is_likely, doubt) = match self {
            Self::EntraV1 => (
                !issuer.ends_with("/v2.0"),
                "tokens of version 1.0 have the issuer https://sts.windows.net/TENANT_ID/; for this issuer, choose --preset entra-v2",
            ),
            Self::EntraV2 => (
                issuer.ends_with("/v2.0"),
                "tokens of version 2.0 have the issuer https://login.microsoftonline.com/TENANT_ID/v2.0",
            ),
            Self::Okta => (
                issuer.contains("/oauth2/"),
                "the issuer of a custom authorization server is https://ORG.okta.com/oauth2/SERVER_ID; nobody but Okta can check the tokens of the org's own server",
            ),
            Self::Auth0 => (
                issuer.ends_with('/'),
                "Auth0's issuers end in a slash: https://TENANT.auth0.com/",
            ),
            Self::Keycloak => (
                issuer.contains("/realms/"),
                "Keycloak's issuers are https://HOST/realms/REALM",
            ),
            Self::Cognito => (
                issuer.contains("//cognito-idp."),
                "Cognito's issuers are https://cognito-idp.REGION.amazonaws.com/POOL_ID",
            ),
            Self::Logto => (
                issuer.ends_with("/oidc"),
                "Logto's issuers are https://TENANT.logto.app/oidc",
            ),
        };
        (!is_likely).then_some(doubt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_of_the_provider_is_not_doubted() {
        for (preset, issuer) in [
            (Preset::EntraV1, "https://sts.windows.net/8f2c/"),
            (
                Preset::EntraV2,
                "https://login.microsoftonline.com/8f2c/v2.0",
            ),
            (Preset::Okta, "https://acme.okta.com/oauth2/default"),
            (Preset::Auth0, "https://acme.eu.auth0.com/"),
            (Preset::Keycloak, "https://id.acme.example/realms/agents"),
            (
                Preset::Cognito,
                "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab1",
            ),
            (Preset::Logto, "https://acme.logto.app/oidc"),
        ] {
            assert_eq!(preset.doubt(issuer), None, "{issuer}");
        }
        for (preset, issuer) in [
            (
                Preset::EntraV1,
                "https://login.microsoftonline.com/8f2c/v2.0",
            ),
            (Preset::EntraV2, "https://sts.windows.net/8f2c/"),
            (Preset::Okta, "https://acme.okta.com"),
            (Preset::Auth0, "https://acme.eu.auth0.com"),
            (Preset::Keycloak, "https://id.acme.example"),
            (
                Preset::Cognito,
                "https://acme.auth.eu-central-1.amazoncognito.com",
            ),
            (Preset::Logto, "https://acme.logto.app"),
        ] {
            assert!(preset.doubt(issuer).is_some(), "{issuer}");
        }
    }

    #[test]
    fn every_preset_says_which_claim_names_the_client() {
        for preset in Preset::value_variants() {
            assert!(!preset.rules().client_claims.is_empty(), "{preset:?}");
        }
    }
}
