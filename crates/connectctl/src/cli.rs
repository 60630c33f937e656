use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use mcp_connect_audit::ChainHash;
use mcp_connect_catalog::{
    NameError, Namespace, ServerName, ServerRef, date_micros, day_micros, is_dot_segment,
};
use mcp_connect_descriptor::KeyStatus;

use crate::{
    output,
    pattern::{ServerPattern, Target},
    presets::Preset,
};

/// The greatest version of a policy.
const MAX_VERSION: u64 = u32::MAX as u64;
/// The greatest number of an entry of the audit trail.
const MAX_SEQ: u64 = (1 << 53) - 1;
/// The longest wait between the steps of a rotation, in seconds: 30 days.
const MAX_WAIT: u64 = 30 * 86400;
/// The longest overlap of keys, in seconds: 30 days.
const MAX_OVERLAP: u64 = 30 * 86400;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; entries that an import refuses are reported, and still 0
  1  the answer is no: denied, refused, not found, or the tool reports an error
  2  wrong usage, or an input that can't be read or is not what it should be
  3  the authority or the server can't be reached, or failed
  4  this machine's clock is wrong, and has to be set first

With --json, an error is one line of JSON on standard error, and standard output has the result alone:
  {\"error\":{\"kind\":\"refused\",\"code\":\"server_not_found\",\"message\":\"…\",\"next\":\"…\",\"exit_code\":1}}
\"kind\" is \"refused\" (1), \"usage\" (2), \"unavailable\" (3) or \"clock\" (4); \"code\" is there if the authority or the server gave one.

Secrets are safer in the environment or in a profile than on the command line, where every user of
the machine can see them. A profile is a section of the configuration file:

  [profiles.default]
  authority = \"https://authority.example\"
  operator_token = \"mcpa_…\"
  api_key = \"mcpk_…\"

Flags win over the environment, the environment over the profile.";

/// Runs an MCP connect authority: keys, clients, servers, imports; and tries it as a client would.
#[derive(Parser)]
#[command(name = "connectctl", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The authority's base URL
    #[arg(long, global = true, value_name = "URL", env = "CONNECT_AUTHORITY")]
    pub(crate) authority: Option<String>,
    /// The key of an administrator (or the operator's token), for everything that is administered
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "CONNECT_OPERATOR_TOKEN",
        hide_env_values = true,
        // A token of random base64url begins with a hyphen now and then.
        allow_hyphen_values = true,
        value_parser = secret
    )]
    pub(crate) operator_token: Option<String>,
    /// The API key of a client, or an access token of its identity provider, for connect and call
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "CONNECT_API_KEY",
        hide_env_values = true
    )]
    pub(crate) api_key: Option<String>,
    /// The profile of the configuration file; "default" where there is one
    #[arg(long, global = true, value_name = "NAME", env = "CONNECT_PROFILE")]
    pub(crate) profile: Option<String>,
    // clap would show the backticks that rustdoc wants.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CONNECT_CONFIG",
        help = "The configuration file [default: connectctl/config.toml in $XDG_CONFIG_HOME or ~/.config]"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Prints JSON for machines
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help = "When to use colours; auto respects NO_COLOR"
    )]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes, shows, rotates and revokes the authority's signing keys
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Registers the clients that may ask for connections
    Clients {
        #[command(subcommand)]
        command: ClientsCommand,
    },
    /// Names the tenants that clients belong to
    Tenants {
        #[command(subcommand)]
        command: TenantsCommand,
    },
    /// Says who may connect to what: for all, or for one tenant
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Lets a tenant's callers in by access tokens of its identity provider
    Providers {
        #[command(subcommand)]
        command: ProvidersCommand,
    },
    /// Finds, shows and moderates servers
    Servers {
        #[command(subcommand)]
        command: ServersCommand,
    },
    /// Shows which servers and versions are held back, by whom and why
    Moderation {
        #[command(subcommand)]
        command: ModerationCommand,
    },
    /// Names who may administer the authority, and makes their keys
    Admins {
        #[command(subcommand)]
        command: AdminsCommand,
    },
    /// Shows which administrator the authority takes you for, and your role
    Whoami,
    /// Shows who changed what, when and why, and proves that nobody altered it
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Revokes a client, a tenant, a signing key or a single descriptor, at once
    Revoke(RevokeArgs),
    /// Shows what was revoked of late
    Revocations {
        #[command(subcommand)]
        command: RevocationsCommand,
    },
    /// Follows another registry, whose servers are mirrored here
    Mirror {
        #[command(subcommand)]
        command: MirrorCommand,
    },
    /// Counts what is registered, and what happened up to a few seconds ago, and lists what ends soon
    Stats,
    /// Imports servers from a dump of an MCP registry
    Import(ImportArgs),
    /// Proves what is yours to a registry, to publish there for the next five minutes
    Login {
        #[command(subcommand)]
        command: LoginCommand,
    },
    /// Forgets what the last login gave
    Logout,
    /// Publishes a server.json, as whoever has logged in
    Publish {
        /// The server.json; "-" reads standard input
        #[arg(default_value = "server.json")]
        file: PathBuf,
    },
    /// Has a registry say what is wrong with a server.json
    Validate {
        /// The server.json; "-" reads standard input
        #[arg(default_value = "server.json")]
        file: PathBuf,
    },
    /// Lists what ends within 14 days; with a server, says that its version is active, deprecated or deleted
    ///
    /// Alone, for administrators: keys of administrators and clients, quarantines, proofs that fail, signing keys beside the one that
    /// signs. With a server and a status, for publishers, as whoever has logged in.
    Status(StatusArgs),
    /// Repairs the copies of servers near their readers
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Asks for the permission to connect, and shows it
    Connect(ConnectArgs),
    /// Checks a descriptor, read from standard input, as an MCP server would
    Inspect(InspectArgs),
    /// Calls a tool of a server: discover, connect, then directly to the server
    Call(CallArgs),
}

#[derive(Subcommand)]
pub(crate) enum CacheCommand {
    /// Renews the copy of every server; once all have one, the authority knows without its database
    /// which servers exist
    Rebuild {
        /// Goes on after this server
        #[arg(long, value_name = "NAME", default_value = "")]
        after: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Prints a private JWK Set with a new key: keep it secret
    Generate {
        /// What the key is for [default: active; with --add: next]
        #[arg(long)]
        status: Option<Status>,
        /// Prints the set of this file with the new key added; "-" reads standard input
        #[arg(long, value_name = "FILE")]
        add: Option<PathBuf>,
        /// How the key signs
        #[arg(long, default_value = "EdDSA")]
        alg: KeyAlgorithm,
    },
    /// Shows the ids, states and public halves of a private JWK Set
    Show {
        /// The set; "-" reads standard input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Shows the keys that the authority holds: which signs, since when, which are revoked
    Status,
    /// Goes one step of a rotation in a private JWK Set, when that is safe: next, active, retired, gone
    Rotate(RotateArgs),
    /// Revokes a key that is no longer secret, at once
    Revoke(KeyRevocation),
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum KeyAlgorithm {
    /// Ed25519
    #[value(name = "EdDSA", alias = "eddsa")]
    EdDsa,
    /// P-256, for those whose libraries lack Ed25519
    #[value(name = "ES256", alias = "es256")]
    Es256,
}

#[derive(Args)]
pub(crate) struct RotateArgs {
    /// The set, replaced as a whole; "-" reads standard input and prints the set
    pub(crate) file: PathBuf,
    /// How a new key signs
    #[arg(long, default_value = "EdDSA")]
    pub(crate) alg: KeyAlgorithm,
    /// Waits only so long between steps: for development, where descriptors live for seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = whole::<u64, 0, MAX_WAIT>)]
    pub(crate) wait: Option<u64>,
}

#[derive(Args)]
pub(crate) struct KeyRevocation {
    /// The key's id, its RFC 7638 thumbprint; `keys status` lists those that the authority holds
    #[arg(allow_hyphen_values = true, value_parser = id)]
    pub(crate) kid: String,
    /// Revokes a key that the authority does not hold, not yet or no longer
    #[arg(long)]
    pub(crate) even_if_unknown: bool,
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
    pub(crate) kind: RevocationKind,
    /// Its id: a jti, a client's or tenant's id, a kid
    #[arg(allow_hyphen_values = true, value_parser = id)]
    pub(crate) id: String,
    /// The tenant of a client that only the tenant's identity provider knows
    #[arg(long, value_parser = id)]
    pub(crate) tenant: Option<String>,
    /// Revokes a signing key that the authority does not hold, not yet or no longer
    #[arg(long)]
    pub(crate) even_if_unknown: bool,
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(crate) enum RevocationKind {
    /// One descriptor
    Jti,
    /// A client: it is suspended
    Client,
    /// A tenant: it is suspended
    Tenant,
    /// A signing key, for ever
    Key,
}

impl RevocationKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Client => "client",
            Self::Tenant => "tenant",
            Self::Key => "key",
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum MirrorCommand {
    /// Shows how far the mirror is, and what is in its way
    Status,
    /// Hears of what changed upstream now, instead of within five minutes
    Sync {
        /// Goes through everything that the upstream has
        #[arg(long)]
        sweep: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Lists the upstream's entries that were rejected, and why
    #[command(alias = "poison")]
    Rejected {
        /// The most entries on a page
        #[arg(long, default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u32, 1, 100>)]
        limit: u32,
        /// Follows the pages to the end
        #[arg(long)]
        all: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum RevocationsCommand {
    /// Lists what was revoked within the last day, and all keys, newest first
    List {
        /// The most entries on a page
        #[arg(long, default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u32, 1, 100>)]
        limit: u32,
        /// Follows the pages to the end
        #[arg(long)]
        all: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Status {
    /// Signs; there is exactly one
    Active,
    /// Published, so that verifiers know it before it signs
    Next,
    /// Published for as long as descriptors that it signed may live
    Retired,
}

impl From<Status> for KeyStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Next => Self::Next,
            Status::Retired => Self::Retired,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum ClientsCommand {
    /// Registers a client and prints its API key, this once
    Create {
        /// The client's id
        #[arg(allow_hyphen_values = true, value_parser = id)]
        id: String,
        /// The tenant it belongs to
        #[arg(long, value_parser = id)]
        tenant: Option<String>,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        /// Makes no API key: the client shows access tokens of its tenant's identity provider
        #[arg(long, conflicts_with_all = ["label", "life"])]
        no_key: bool,
        #[command(flatten)]
        key: NewKeyArgs,
        #[command(flatten)]
        why: Why,
    },
    /// Refuses the client from now on
    Suspend(ClientChange),
    /// Lets a suspended client connect again
    Resume(ClientChange),
    /// Lists all clients
    List,
    /// Makes, lists, replaces and revokes a client's API keys
    Keys {
        #[command(subcommand)]
        command: ClientKeysCommand,
    },
}

#[derive(Subcommand)]
pub(crate) enum ClientKeysCommand {
    /// Makes another key and prints it, this once; the others stay as they are
    Create {
        /// The client's id
        #[arg(allow_hyphen_values = true, value_parser = id)]
        id: String,
        #[command(flatten)]
        key: NewKeyArgs,
        #[command(flatten)]
        why: Why,
    },
    /// Lists the newest 100 keys, without their secrets
    List {
        /// The client's id
        #[arg(allow_hyphen_values = true, value_parser = id)]
        id: String,
    },
    /// Makes a new key and prints it, this once; all others end after the overlap
    Rotate {
        #[command(flatten)]
        change: ClientChange,
        #[command(flatten)]
        rotation: RotationArgs,
    },
    /// Refuses a key from now on
    Revoke {
        #[command(flatten)]
        change: ClientChange,
        /// The key's id, as `clients keys list` shows it
        #[arg(long = "key", value_name = "KEY_ID", allow_hyphen_values = true, value_parser = key_id)]
        key_id: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum ProvidersCommand {
    /// Fetches the provider's keys, and takes its access tokens if these can be used
    Add {
        #[command(flatten)]
        change: ProviderChange,
        /// Where its keys are; without it, its metadata says
        #[arg(long, value_name = "URL")]
        jwks_uri: Option<String>,
        #[command(flatten)]
        rules: ProviderRulesArgs,
    },
    /// Says why an access token would be refused; the authority neither logs nor stores it
    Test {
        /// The token; "-" reads standard input, where other users of the machine can't see it
        #[arg(default_value = "-", hide_default_value = true)]
        token: String,
    },
    /// Lists the identity providers of a tenant
    List {
        /// The tenant
        #[arg(long, value_parser = id)]
        tenant: String,
    },
    /// Takes no token of the provider from now on
    Remove(ProviderChange),
}

/// How the provider's tokens say whom they are for and who shows them.
#[derive(Args)]
pub(crate) struct ProviderRulesArgs {
    /// Sets the options below as a well-known provider's tokens want it; those that are given win
    #[arg(long)]
    pub(crate) preset: Option<Preset>,
    // clap would show the backticks that rustdoc wants.
    #[arg(
        long = "client-claim",
        value_name = "NAME",
        help = "A claim that names the client; the first of them that a token has counts [default: client_id, then azp]"
    )]
    pub(crate) client_claims: Vec<String>,
    #[arg(
        long,
        value_name = "NAME",
        help = "The claim that names the audience, such as client_id or scope [default: aud]"
    )]
    pub(crate) audience_claim: Option<String>,
    #[arg(
        long = "require",
        value_name = "CLAIM[=VALUE]",
        value_parser = required_claim,
        help = "A claim that each token must have, with this value or any; may be repeated"
    )]
    pub(crate) required_claims: Vec<(String, Option<String>)>,
    #[arg(
        long,
        value_name = "TYP",
        value_parser = ["at+jwt", "jwt"],
        help = "The only typ that its tokens may have [default: either, or none]"
    )]
    pub(crate) token_type: Option<String>,
}

#[derive(Args)]
pub(crate) struct ProviderChange {
    /// The tenant whose callers show its tokens
    #[arg(long, value_parser = id)]
    pub(crate) tenant: String,
    /// `iss` of its tokens, to the letter
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: String,
    /// `aud` of its tokens that are for this authority, or the value of --audience-claim
    #[arg(long, value_parser = id)]
    pub(crate) audience: String,
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

#[derive(Args)]
pub(crate) struct ClientChange {
    /// The client's id
    #[arg(allow_hyphen_values = true, value_parser = id)]
    pub(crate) id: String,
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

#[derive(Subcommand)]
pub(crate) enum TenantsCommand {
    /// Names a tenant; clients can be registered for it from then on
    Create {
        /// The tenant's id
        #[arg(value_parser = id)]
        id: String,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Lists all tenants
    List,
    /// Shows one tenant
    Show {
        /// The tenant's id
        #[arg(value_parser = id)]
        id: String,
    },
    /// Refuses all clients of a tenant from now on
    Suspend(TenantChange),
    /// Lets the clients of a suspended tenant connect again
    Resume(TenantChange),
}

#[derive(Args)]
pub(crate) struct TenantChange {
    /// The tenant's id
    #[arg(value_parser = id)]
    pub(crate) id: String,
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

const POLICY_HELP: &str = "\
A policy is a JSON object; only \"allow\" is required:

  {
    \"allow\": [\"*\"],
    \"deny\": [\"com.bad/**\", \"com.example/broken\"],
    \"require_verification\": \"none\" | \"namespace\" | \"endpoint\" | \"operator\",
    \"publishers\": [\"com.example\"],
    \"versions\": [{\"servers\": \"com.example/weather\", \"pin\": \"1.2.0\", \"digest\": \"…\"},
                 {\"servers\": \"com.example/*\", \"minimum\": \"1.0.0\"}],
    \"clients\": {\"allow\": [\"*\"], \"deny\": [\"old-desktop\"]}
  }

Servers are \"*\", \"namespace/**\" (the namespace with all below it), \"namespace/*\" or \"namespace/name\"; a
publisher is a namespace with all below it. What denies wins over what allows, and order means nothing;
\"deny\" and \"versions\" hold for every spelling of a name, \"allow\" for the one that is written. A pin allows
one version as it was when it was pinned; with a \"digest\" (`servers show` prints it) the one with that
content. A caller needs the leave of the policy for all, and of its tenant's.";

#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    /// Prints the policy in force, or an older version
    Show {
        #[command(flatten)]
        scope: PolicyScope,
        /// An older version, as `policy history` lists them
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u32, 0, MAX_VERSION>)]
        version: Option<u32>,
    },
    /// Puts a policy into force, at once
    #[command(after_help = POLICY_HELP)]
    Set(SetPolicyArgs),
    /// Lists the versions, newest first
    History {
        #[command(flatten)]
        scope: PolicyScope,
        /// The most versions on a page
        #[arg(long, default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u32, 1, 100>)]
        limit: u32,
        /// Follows the pages to the end
        #[arg(long)]
        all: bool,
    },
    /// Says whether a caller could connect to a server now, and which rule decides
    Explain(ExplainArgs),
}

#[derive(Args)]
pub(crate) struct PolicyScope {
    /// The policy of this tenant; without it, the one for all
    #[arg(long, value_parser = id)]
    pub(crate) tenant: Option<String>,
}

#[derive(Args)]
pub(crate) struct SetPolicyArgs {
    /// The policy; "-" reads standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) scope: PolicyScope,
    /// Why, for the history and the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
    /// Only where this is still the version in force, so that no change of another is lost
    #[arg(long, value_name = "VERSION", allow_negative_numbers = true, value_parser = whole::<u32, 0, MAX_VERSION>)]
    pub(crate) if_version: Option<u32>,
}

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// namespace/name or namespace/name@version
    pub(crate) server_ref: ServerRef,
    /// The caller: a registered client, or, with --tenant, one of its identity provider; without
    /// both, an anonymous caller
    #[arg(long, value_parser = id)]
    pub(crate) client: Option<String>,
    /// The caller's tenant, where the client is not registered
    #[arg(long, value_parser = id)]
    pub(crate) tenant: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum ServersCommand {
    /// Searches by words of the name, the title and the description
    Search {
        /// What to look for; everything without it
        query: Option<String>,
        /// The most servers on a page
        #[arg(long, default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u32, 1, 100>)]
        limit: u32,
        /// Follows the pages to the end
        #[arg(long)]
        all: bool,
    },
    /// Lists every server by name, with what holds it back, how far it is verified, and where it comes from
    List(ServerList),
    /// Shows one server, or one version of it
    Show {
        /// namespace/name or namespace/name@version
        server_ref: ServerRef,
    },
    /// Shows what its publisher serves, and where, to prove the namespace and the endpoint
    Challenge {
        /// namespace/name
        #[arg(value_parser = server_name)]
        server: ServerName,
    },
    /// Asks the publisher's host now, and notes what that proves
    Prove {
        /// namespace/name
        #[arg(value_parser = server_name)]
        server: ServerName,
        /// What is to be proven
        level: Provable,
        #[command(flatten)]
        why: Why,
    },
    /// Lists the proofs that hold, and how the last look at them went
    Proofs {
        /// namespace/name
        #[arg(value_parser = server_name)]
        server: ServerName,
    },
    /// Verifies a server, or each that a pattern matches, because a person decided so: the highest level
    Verify(Verification),
    /// Takes one level of verification away, or all; of a server, or of each that a pattern matches
    Unverify {
        #[command(flatten)]
        change: ServerChange,
        /// Only this one; what rests on it goes with it
        #[arg(long)]
        level: Option<Level>,
    },
    /// Shows whether the endpoint answered as an MCP server when it was last asked
    Health {
        /// namespace/name
        #[arg(value_parser = server_name)]
        server: ServerName,
    },
    /// Asks the endpoint now
    Probe {
        /// namespace/name
        #[arg(value_parser = server_name)]
        server: ServerName,
    },
    /// Holds a server, a version or each server of a pattern back, at once, for a time or until somebody reinstates it
    Quarantine {
        #[command(flatten)]
        moderation: Moderation,
        /// How long: 90s, 15m, 12h, 2d; without it, until it is reinstated
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        expires_in: Option<u64>,
    },
    /// Stops issuing descriptors for a server, a version or each server of a pattern, at once
    Revoke(Moderation),
    /// Lets a quarantined or revoked server or version, or each server of a pattern, be connected to again
    Reinstate(Moderation),
    /// Takes out what was published here and could never be connected to
    ///
    /// Versions go that never had an endpoint, and those of servers that nobody ever verified, if the authority
    /// requires that. What is mirrored, or held back by a moderator, stays.
    Purge(Purge),
}

#[derive(Args)]
pub(crate) struct Purge {
    /// Of this namespace and all below it
    #[arg(long, required_unless_present = "all")]
    pub(crate) namespace: Option<Namespace>,
    /// Of every namespace
    #[arg(long, conflicts_with = "namespace")]
    pub(crate) all: bool,
    /// Only what was published before this time, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) published_before: Option<String>,
    /// Only shows what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Provable {
    /// The publisher owns the namespace: its domain serves the token
    Namespace,
    /// The publisher controls the endpoint: its origin serves the token, or lies under the domain
    Endpoint,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    Namespace,
    Endpoint,
    Operator,
}

impl Provable {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Endpoint => "endpoint",
        }
    }
}

impl Level {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Endpoint => "endpoint",
            Self::Operator => "operator",
        }
    }
}

#[derive(Args)]
pub(crate) struct ServerChange {
    /// namespace/name; or "namespace/*", "namespace/**" (with all below it) or "*", quoted
    #[arg(value_parser = target_server)]
    pub(crate) server: Target<ServerName>,
    #[command(flatten)]
    pub(crate) bulk: Bulk,
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

#[derive(Args)]
pub(crate) struct Moderation {
    /// namespace/name or namespace/name@version; or "namespace/*", "namespace/**" (with all below it) or "*", quoted
    #[arg(value_parser = str::parse::<Target<ServerRef>>)]
    pub(crate) server_ref: Target<ServerRef>,
    #[command(flatten)]
    pub(crate) bulk: Bulk,
    /// Why, for the audit log and for everybody who looks at the server
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

/// What belongs to a change of many servers.
#[derive(Args)]
pub(crate) struct Bulk {
    /// Changes all that a pattern matches without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Shows what a pattern matches, and changes nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct ServerList {
    /// "namespace/*", "namespace/**" (with all below it) or "*", quoted; in every spelling of the names
    #[arg(value_parser = str::parse::<ServerPattern>)]
    pub(crate) servers: Option<ServerPattern>,
    /// Only those in this state
    #[arg(long)]
    pub(crate) state: Option<ServerState>,
    /// Only those whose default version is verified so far
    #[arg(long)]
    pub(crate) level: Option<ListedLevel>,
    /// Only those from there
    #[arg(long)]
    pub(crate) source: Option<ServerSource>,
    /// The most servers on a page
    #[arg(long, default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u32, 1, 100>)]
    pub(crate) limit: u32,
    /// Follows the pages to the end
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ServerState {
    Active,
    Quarantined,
    Revoked,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ListedLevel {
    None,
    Namespace,
    Endpoint,
    Operator,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ServerSource {
    /// Published or imported here
    Local,
    /// Taken from the registry that is followed
    Mirrored,
}

impl ServerState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
        }
    }
}

impl ListedLevel {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Namespace => "namespace",
            Self::Endpoint => "endpoint",
            Self::Operator => "operator",
        }
    }
}

impl ServerSource {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Mirrored => "mirrored",
        }
    }
}

#[derive(Args)]
pub(crate) struct Verification {
    #[command(flatten)]
    pub(crate) change: ServerChange,
    /// The origin that you looked at, such as `https://mcp.example.com`; without it, the one at which the
    /// authority shows the server now
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// The server's own key set, for its descriptors; what is left out stays as it is
    #[arg(long, value_name = "URL")]
    pub(crate) jwks_uri: Option<String>,
    /// The SHA-256 of the server's SPKI in base64url, for its descriptors
    #[arg(long, value_name = "DIGEST")]
    pub(crate) tls_pin_sha256: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum ModerationCommand {
    /// Lists what is held back, in the order of the names
    List {
        #[command(flatten)]
        filter: ModerationFilter,
        /// The most entries on a page
        #[arg(long, default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u32, 1, 100>)]
        limit: u32,
        /// Follows the pages to the end
        #[arg(long)]
        all: bool,
    },
    /// Prints everything that is held back, one JSON object a line
    Export {
        #[command(flatten)]
        filter: ModerationFilter,
    },
}

#[derive(Args)]
pub(crate) struct ModerationFilter {
    /// Only what is in this state
    #[arg(long)]
    pub(crate) state: Option<HeldState>,
    /// Only servers of this namespace
    #[arg(long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum HeldState {
    Quarantined,
    Revoked,
}

impl HeldState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum AdminsCommand {
    /// Names an administrator and prints their first key, this once
    Create {
        /// What the audit log calls them: lower-case letters, digits, ".", "_", "@", "-"
        #[arg(value_parser = id)]
        name: String,
        /// What they may do
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        key: NewKeyArgs,
        #[command(flatten)]
        why: Why,
    },
    /// Lists all administrators
    List,
    /// Refuses all keys of an administrator from now on
    Suspend(AdminChange),
    /// Lets a suspended administrator in again
    Resume(AdminChange),
    /// Gives an administrator another role
    Role {
        /// What they may do from now on
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        change: AdminChange,
    },
    /// Says who an administrator is to Cloudflare Access
    Access {
        #[command(flatten)]
        change: AdminChange,
        /// Their e-mail address, or the name of a service token
        #[arg(long, required_unless_present = "none", conflicts_with = "none", value_parser = id)]
        identity: Option<String>,
        /// Nobody: they need a key of their own
        #[arg(long)]
        none: bool,
    },
    /// Makes, lists and revokes an administrator's keys
    Keys {
        #[command(subcommand)]
        command: AdminKeysCommand,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Reads the metrics, and nothing else
    Metrics,
    /// Reads everything, changes nothing
    Auditor,
    /// Reads everything; verifies and moderates servers, suspends and resumes clients
    Moderator,
    /// Does everything
    Operator,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Auditor => "auditor",
            Self::Moderator => "moderator",
            Self::Operator => "operator",
        }
    }
}

#[derive(Args)]
pub(crate) struct AdminChange {
    /// The administrator's name
    #[arg(value_parser = id)]
    pub(crate) name: String,
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
}

/// Why something is added or renewed, which need not be said.
#[derive(Args)]
pub(crate) struct Why {
    /// Why, for the audit log
    #[arg(long, value_parser = reason)]
    pub(crate) reason: Option<String>,
}

#[derive(Args)]
pub(crate) struct NewKeyArgs {
    /// What the key is for, so that it can be told from others
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// How long the key works: 12h, 90d, never (which sets no end); without it, until it is revoked
    #[arg(long = "for", value_name = "TIME", value_parser = life)]
    pub(crate) life: Option<Life>,
}

#[derive(Args)]
pub(crate) struct RotationArgs {
    /// How long the other keys go on working: 30m, 24h, at most 30d; 0 (or 0s) ends them at once
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span_or_none)]
    pub(crate) overlap: u64,
    /// What the new key is for; without it, the label of those before it
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// How long the new key works: 12h, 90d, never; without it, as long again as those before it
    /// were made for
    #[arg(long = "for", value_name = "TIME", value_parser = life)]
    pub(crate) life: Option<Life>,
}

/// How long a key works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Life {
    Seconds(u64),
    /// Until it is revoked.
    Endless,
}

impl RotationArgs {
    /// Says what became of the other keys where they did not go on working.
    pub(crate) fn tell_end(&self) {
        if self.overlap == 0 {
            output::note("All other keys ended at once.");
        }
    }
}

impl Life {
    pub(crate) const fn seconds(self) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Endless => None,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum AdminKeysCommand {
    /// Makes another key and prints it, this once
    Create {
        /// The administrator's name
        #[arg(value_parser = id)]
        name: String,
        #[command(flatten)]
        key: NewKeyArgs,
        #[command(flatten)]
        why: Why,
    },
    /// Makes a new key and prints it, this once; all others end after the overlap
    Rotate {
        #[command(flatten)]
        change: AdminChange,
        #[command(flatten)]
        rotation: RotationArgs,
    },
    /// Lists the newest 100 keys, without their secrets
    List {
        /// The administrator's name
        #[arg(value_parser = id)]
        name: String,
    },
    /// Refuses a key from now on
    Revoke {
        #[command(flatten)]
        change: AdminChange,
        /// The key's id, as `admins keys list` shows it
        #[arg(long = "key", value_name = "KEY_ID", allow_hyphen_values = true, value_parser = key_id)]
        key_id: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Lists changes, newest first
    List(AuditList),
    /// Prints all changes with their hashes, one JSON object a line, oldest first
    Export {
        /// Writes them to this file
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Begins after the change of this number
        #[arg(long, value_name = "SEQ", default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u64, 0, MAX_SEQ>)]
        after: u64,
    },
    /// Recomputes the hash chain over all changes: whether one was altered, removed or moved
    Verify {
        /// Checks an export instead of asking the authority; "-" reads standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// The head that an earlier check told: finds a trail that was rewritten whole, or cut
        #[arg(long, value_name = "HASH", allow_hyphen_values = true)]
        head: Option<ChainHash>,
    },
}

#[derive(Args)]
pub(crate) struct AuditList {
    /// Only what this administrator did
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Only this, such as server.revoke
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only what was done to this; with a server, its versions too
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Only from this time on: a day of UTC, such as 2026-11-01, or a time, such as
    /// 2026-11-01T09:30:00Z
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(crate) since: Option<String>,
    /// Only before this time; of a day, to its end
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(crate) until: Option<String>,
    /// Lists the oldest first
    #[arg(long)]
    pub(crate) oldest_first: bool,
    /// Lists each version that an import or the mirror took in, too; they are left out unless --action or --subject
    /// asks for them
    #[arg(long)]
    pub(crate) imports: bool,
    /// The most entries on a page
    #[arg(long, default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u32, 1, 100>)]
    pub(crate) limit: u32,
    /// Follows the pages to the end
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    #[arg(
        help = r#"{"servers": [{"server", "_meta"}, …]}, or the list alone; "-" reads standard input"#
    )]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Subcommand)]
pub(crate) enum LoginCommand {
    /// By a key in a TXT record of a domain: for its namespace and those below
    Dns(DomainArgs),
    /// By a key at /.well-known/mcp-registry-auth of a domain: for its namespace
    Http(DomainArgs),
    /// By an account of GitHub: for `io.github.YOU` and the organisations that you own
    Github {
        /// A token of GitHub's that may read you and your organisations; without one, a browser is asked
        #[arg(
            long,
            value_name = "TOKEN",
            env = "CONNECT_GITHUB_TOKEN",
            hide_env_values = true
        )]
        token: Option<String>,
        /// Where GitHub is
        #[arg(
            long,
            value_name = "URL",
            default_value = "https://github.com",
            hide = true
        )]
        github: String,
    },
    /// By the workflow of GitHub Actions in which this runs, with the permission id-token: write
    GithubOidc,
    /// Without any proof, where a registry allows it: in development
    None,
}

#[derive(Args)]
pub(crate) struct DomainArgs {
    /// The domain, such as example.com
    pub(crate) domain: String,
    #[arg(
        long,
        value_name = "FILE",
        help = "The private key: PEM (PKCS #8) of Ed25519 or P-384, or its secret in hexadecimal; \"-\" reads standard input"
    )]
    pub(crate) key: PathBuf,
    /// Prints what the domain has to publish, and asks nobody
    #[arg(long)]
    pub(crate) record: bool,
    /// Signs the time alone, for registries that know nothing else: whoever sees the proof can use it for 15 s
    #[arg(long)]
    pub(crate) unbound: bool,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// namespace/name@version; with --all-versions namespace/name
    #[arg(requires = "status")]
    pub(crate) server_ref: Option<ServerRef>,
    /// What it is from now on
    pub(crate) status: Option<PublishedStatus>,
    /// Why, for those who use it
    #[arg(long, value_parser = reason, requires = "server_ref")]
    pub(crate) message: Option<String>,
    /// Every version
    #[arg(long, requires = "server_ref")]
    pub(crate) all_versions: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PublishedStatus {
    /// In use
    Active,
    /// Not to be used for anything new
    Deprecated,
    /// Gone; the name and version stay taken
    Deleted,
}

impl PublishedStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Deleted => "deleted",
        }
    }
}

#[derive(Args)]
pub(crate) struct ConnectArgs {
    /// namespace/name or namespace/name@version
    pub(crate) server_ref: ServerRef,
    /// Prints the descriptor too: who has it can connect
    #[arg(long)]
    pub(crate) show_descriptor: bool,
    /// Accepts verified servers only
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// The endpoint that the descriptor must be for
    #[arg(long, value_name = "URL", value_parser = id)]
    pub(crate) audience: Option<String>,
    /// Takes the authority's public keys from a file; the issuer is checked when --authority is given
    #[arg(long, value_name = "JWKS_FILE")]
    pub(crate) offline: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CallArgs {
    /// namespace/name or namespace/name@version
    pub(crate) server_ref: ServerRef,
    /// The tool's name
    pub(crate) tool: String,
    /// Its arguments, a JSON object
    #[arg(value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    /// How long everything together may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", allow_negative_numbers = true, value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Has the descriptor bound to a key made for this call, and proves it on every request
    #[arg(long)]
    pub(crate) bind: bool,
    /// Accepts verified servers only
    #[arg(long)]
    pub(crate) strict: bool,
}

/// `CLAIM` or `CLAIM=VALUE`.
fn required_claim(text: &str) -> Result<(String, Option<String>), String> {
    let (claim, value) = match text.split_once('=') {
        Some((claim, value)) => (claim, Some(value)),
        None => (text, None),
    };
    if claim.is_empty() || value == Some("") {
        return Err("write CLAIM or CLAIM=VALUE".to_owned());
    }
    Ok((claim.to_owned(), value.map(str::to_owned)))
}

/// An id, as far as it has to go into the path of a URL: the authority knows what else it must be.
fn id(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    if is_dot_segment(text) {
        return Err("is a step in a path, not an id: it would lead to something else".into());
    }
    Ok(text.to_owned())
}

/// The id of a key, which may begin with a hyphen. An option that stands there instead has no key before it.
fn key_id(text: &str) -> Result<String, String> {
    refuse_option(text)?;
    id(text)
}

/// A secret, which may begin with a hyphen, too.
fn secret(text: &str) -> Result<String, String> {
    refuse_option(text)?;
    Ok(text.to_owned())
}

/// An option has nothing but lower-case letters and hyphens, as no random id and no random secret has.
fn refuse_option(text: &str) -> Result<(), String> {
    let is_letters = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if text.starts_with('-') && is_letters {
        return Err("is an option, not a value: give the value before it".into());
    }
    Ok(())
}

/// A server with all its versions, or all that a pattern matches.
fn target_server(text: &str) -> Result<Target<ServerName>, String> {
    refuse_version(text)?;
    text.parse()
}

/// A server with all its versions.
fn server_name(text: &str) -> Result<ServerName, String> {
    refuse_version(text)?;
    text.parse().map_err(|error: NameError| error.to_string())
}

fn refuse_version(text: &str) -> Result<(), String> {
    match text.split_once('@') {
        Some((name, _)) if name.parse::<ServerName>().is_ok() => Err(format!(
            "is one version, and this is for a server with all its versions: write {name}"
        )),
        _ => Ok(()),
    }
}

/// A whole number.
fn whole<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number, {MIN} to {MAX}"))
}

fn reason(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=500 => Ok(text.to_owned()),
        _ => Err("must have 1 to 500 characters".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86400) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be 1 to 86400 seconds".into()),
    }
}

/// A time as the authority reads it, passed on as it is.
fn moment(text: &str) -> Result<String, String> {
    if day_micros(text).is_some() || date_micros(text).is_some() {
        Ok(text.to_owned())
    } else {
        Err("must be a day of UTC, such as 2026-11-01, or a time with its zone, such as 2026-11-01T09:30:00Z".into())
    }
}

/// The life of a key.
fn life(text: &str) -> Result<Life, String> {
    match text {
        "never" => Ok(Life::Endless),
        text => span(text).map(Life::Seconds).map_err(|_| {
            "must be a whole number with its unit, such as 12h or 90d, or \"never\" for a key without an end".into()
        }),
    }
}

/// Seconds, which may be none, up to what a rotation may take.
fn span_or_none(text: &str) -> Result<u64, String> {
    if matches!(text, "0" | "0s" | "0m" | "0h" | "0d") {
        return Ok(0);
    }
    span(text)
        .ok()
        .filter(|span| *span <= MAX_OVERLAP)
        .ok_or_else(|| {
            "must be a whole number with its unit, such as 30m or 24h, and at most 30d; 0 ends the other keys at once"
                .into()
        })
}

/// Seconds, of a number with its unit.
fn span(text: &str) -> Result<u64, String> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
    UNITS
        .iter()
        .find_map(|(unit, seconds)| {
            let count: u64 = text.strip_suffix(*unit)?.parse().ok()?;
            count.checked_mul(*seconds).filter(|span| *span > 0)
        })
        .ok_or_else(|| "must be a whole number with its unit: 90s, 15m, 12h or 2d".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_takes_a_step_in_a_path_for_an_id() {
        for dots in [".", "..", "%2e%2E"] {
            for command in [
                &["clients", "create", dots][..],
                &["clients", "create", "a", "--tenant", dots],
                &["clients", "suspend", dots, "--reason", "r"],
                &["clients", "keys", "list", dots],
                &[
                    "clients", "keys", "revoke", "a", "--key", dots, "--reason", "r",
                ],
                &["tenants", "create", dots],
                &["tenants", "show", dots],
                &["tenants", "suspend", dots, "--reason", "r"],
                &["providers", "list", "--tenant", dots],
                &["policy", "set", "-", "--tenant", dots, "--reason", "r"],
                &["policy", "show", "--tenant", dots],
                &["policy", "explain", "a1/b1", "--client", dots],
                &["admins", "create", dots, "--role", "operator"],
                &["admins", "suspend", dots, "--reason", "r"],
                &["admins", "keys", "list", dots],
                &["revoke", "client", dots, "--reason", "r"],
                &["keys", "revoke", dots, "--reason", "r"],
                &["status", &format!("a1/b1@{dots}"), "deleted"],
                &["servers", "show", &format!("a1/{dots}")],
            ] {
                let line = [&["connectctl"], command].concat();
                assert!(Cli::try_parse_from(&line).is_err(), "{line:?}");
            }
        }
        let good = ["connectctl", "policy", "show", "--tenant", "a.b"];
        assert!(Cli::try_parse_from(good).is_ok());
    }

    #[test]
    fn no_overlap_may_have_a_unit() {
        for text in ["0", "0s", "0m", "0h", "0d"] {
            assert_eq!(span_or_none(text), Ok(0), "{text}");
        }
        assert_eq!(span_or_none("30d"), Ok(MAX_OVERLAP));
        for text in ["", "00", "0w", "31d", "-1h", "90"] {
            assert!(span_or_none(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("2d", 172_800)] {
            assert_eq!(span(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "2",
            "d",
            "0d",
            "-1d",
            "2w",
            "1.5h",
            "99999999999999999999d",
            "300000000000000d",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
