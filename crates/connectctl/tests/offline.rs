//! What needs no authority: help, keys, inspecting offline, and where settings come from.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs;

use assert_cmd::Command;
use mcp_connect_descriptor::{KeyStatus, SigningKey, SigningKeys};
use serde_json::{Value, json};
use support::{connectctl, descriptor, text, unix_now};
use tempfile::{TempDir, tempdir};

/// Runs it, and gives the exit code, standard output and standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn help_documents_the_exit_codes() {
    let home = tempdir().unwrap();
    let (code, stdout, _) = run(connectctl(home.path()).arg("--help"));
    assert_eq!(code, 0);
    assert!(
        [
            "Exit codes:",
            "can't be reached",
            "entries that an import refuses"
        ]
        .iter()
        .all(|text| stdout.contains(text)),
        "{stdout}"
    );
    for command in [
        "keys", "clients", "servers", "audit", "import", "connect", "inspect", "call",
    ] {
        assert!(stdout.contains(command), "{command}");
        let (code, ..) = run(connectctl(home.path()).args([command, "--help"]));
        assert_eq!(code, 0, "{command}");
    }
}

#[test]
fn help_shows_no_secret_of_the_environment() {
    let home = tempdir().unwrap();
    let mut command = connectctl(home.path());
    command
        .env("CONNECT_OPERATOR_TOKEN", "s3cret-o")
        .env("CONNECT_API_KEY", "s3cret-k");
    let (_, stdout, _) = run(command.arg("--help"));
    assert!(!stdout.contains("s3cret"), "{stdout}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let home = tempdir().unwrap();
    let authority = ["--authority", "https://authority.example"];
    for arguments in [
        vec![],
        vec!["frobnicate"],
        vec!["connect", "no-slash"],
        vec!["connect", "a/../b"],
        vec!["servers", "verify", "com.example/weather"],
        vec!["servers", "verify", "com.example/weather", "--reason", ""],
        vec!["servers", "search", "--limit", "101"],
        vec!["audit", "list", "--limit", "0"],
        vec!["audit", "list", authority[0], authority[1]],
        vec!["servers", "search"],
        vec!["clients", "list", authority[0], authority[1]],
        vec![
            "servers",
            "search",
            "--authority",
            "http://authority.example",
        ],
        vec![
            "connect",
            "com.example/weather",
            "--api-key",
            "two words",
            authority[0],
            authority[1],
        ],
        vec!["keys", "show", "/nowhere/keys.json"],
        vec!["keys", "show", "/dev/null"],
        vec!["keys", "generate", "--add", "/dev/null"],
        vec!["keys", "rotate", "/dev/null"],
        vec!["policy", "explain", "a1/b1", "--client"],
        vec!["policy", "explain", "a1/b1", "--client", "-x"],
        vec!["audit", "list", "--subject", "-x"],
        vec!["clients", "keys", "revoke", "a", "--key", "--reason", "r"],
        vec!["servers", "verify", "a1/b1@9.9.9", "--reason", "r"],
        vec!["servers", "proofs", "a1/b1@9.9.9"],
        vec!["audit", "list", "--since", "yesterday"],
        vec!["clients", "create", "x", "--for", "soon"],
    ] {
        let (code, stdout, stderr) = run(connectctl(home.path()).args(&arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(!stderr.is_empty(), "{arguments:?}");

        let (code, stdout, stderr) = run(connectctl(home.path()).arg("--json").args(&arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        let error: Value = serde_json::from_str(&stderr).unwrap();
        assert_eq!(error["error"]["kind"], "usage", "{error}");
    }
}

#[test]
fn usage_names_what_is_needed_whatever_the_environment_has() {
    let home = tempdir().unwrap();
    for environment in [
        &[][..],
        &[
            ("CONNECT_AUTHORITY", "http://127.0.0.1:1"),
            ("CONNECT_OPERATOR_TOKEN", "s3cret"),
        ],
    ] {
        let mut command = connectctl(home.path());
        command.envs(environment.iter().copied());
        let (code, _, stderr) = run(command.args(["clients", "suspend"]));
        assert_eq!(code, 2);
        assert!(
            stderr.contains("next: connectctl clients suspend <ID> --reason <REASON>\n"),
            "{stderr}"
        );
        assert!(
            !stderr.contains("--operator-token") && !stderr.contains("--authority"),
            "{stderr}"
        );
    }
    let (_, _, stderr) = run(connectctl(home.path()).args(["clients", "remove", "x"]));
    assert!(
        stderr.contains("`connectctl clients suspend`") && !stderr.contains("resume"),
        "{stderr}"
    );
}

#[test]
fn generated_keys_are_good_and_rotate() {
    let home = tempdir().unwrap();
    let (code, first, _) = run(connectctl(home.path()).args(["keys", "generate"]));
    assert_eq!(code, 0);
    let first_id = SigningKeys::parse(&first).unwrap().active().id().to_owned();

    let file = home.path().join("keys.json");
    fs::write(&file, &first).unwrap();
    let add = |status: &[&str]| {
        let mut command = connectctl(home.path());
        run(command
            .args(["keys", "generate", "--add"])
            .arg(&file)
            .args(status))
    };
    let (code, second, _) = add(&[]);
    assert_eq!(code, 0);
    let keys = SigningKeys::parse(&second).unwrap();
    assert_eq!(keys.active().id(), first_id);
    let statuses: Vec<_> = keys.iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [KeyStatus::Active, KeyStatus::Next]);

    let (code, stdout, stderr) = add(&["--status", "active"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("exactly one must") && stderr.contains("next:"),
        "{stderr}"
    );
}

#[test]
fn showing_keys_shows_nothing_private() {
    let home = tempdir().unwrap();
    let key = SigningKey::from_seed(&[7; 32]);
    let private = key.to_private_jwk(KeyStatus::Active);
    let set = json!({ "keys": [private] }).to_string();
    for arguments in [["keys", "show", "-"], ["keys", "show", "--json"]] {
        let (code, stdout, stderr) = run(connectctl(home.path())
            .args(arguments)
            .write_stdin(set.clone()));
        assert_eq!(code, 0, "{stderr}");
        assert!(
            stdout.contains(key.id()) && stdout.contains("active"),
            "{stdout}"
        );
        assert!(!stdout.contains(private["d"].as_str().unwrap()), "{stdout}");
        assert!(!stdout.contains("\"d\""), "{stdout}");
    }

    let mut faulty = private.clone();
    faulty["x"] = SigningKey::from_seed(&[8; 32]).to_private_jwk(KeyStatus::Active)["x"].clone();
    let set = json!({ "keys": [faulty] }).to_string();
    let (code, _, stderr) = run(connectctl(home.path())
        .args(["keys", "show"])
        .write_stdin(set));
    assert_eq!(code, 2);
    assert!(
        stderr.contains("keys[0].x: does not belong to d"),
        "{stderr}"
    );
    assert!(!stderr.contains(private["d"].as_str().unwrap()));
}

/// A home directory with the public keys of `seed`.
fn with_public_keys(seed: u8) -> TempDir {
    let home = tempdir().unwrap();
    let private = SigningKey::from_seed(&[seed; 32]).to_private_jwk(KeyStatus::Active);
    let keys = SigningKeys::parse(&json!({ "keys": [private] }).to_string()).unwrap();
    fs::write(
        home.path().join("jwks.json"),
        keys.public().to_json().to_string(),
    )
    .unwrap();
    home
}

#[test]
fn inspecting_says_what_is_wrong() {
    const ISSUER: &str = "https://authority.example";
    const ENDPOINT: &str = "https://mcp.example/mcp";
    let home = with_public_keys(1);
    let key = SigningKey::from_seed(&[1; 32]);
    let mint =
        |issuer: &str, issued_at| descriptor(issuer, ENDPOINT, issued_at).mint(&key).unwrap();
    let good = mint(ISSUER, unix_now());
    let tampered = format!("{}AAAA{}", &good[..good.len() - 8], &good[good.len() - 4..]);
    let other_key = descriptor(ISSUER, ENDPOINT, unix_now())
        .mint(&SigningKey::from_seed(&[2; 32]))
        .unwrap();

    for (token, audience, code, reason) in [
        (
            good.clone(),
            None,
            0,
            "good: form, signature, lifetime and issuer\n",
        ),
        (
            format!("  {good}\n"),
            Some(ENDPOINT),
            0,
            "good: form, signature, lifetime, issuer and audience\n",
        ),
        (
            good,
            Some("https://mcp.example/other"),
            1,
            "descriptor_wrong_audience: for another server",
        ),
        (
            mint(ISSUER, unix_now() - 120),
            None,
            1,
            "descriptor_expired: expired at",
        ),
        (
            mint(ISSUER, unix_now() + 60),
            None,
            1,
            "descriptor_invalid: not valid before",
        ),
        (
            mint("https://other.example", unix_now()),
            None,
            1,
            "descriptor_invalid: the issuer is another",
        ),
        (
            tampered,
            None,
            1,
            "descriptor_invalid: the signature does not match",
        ),
        (
            other_key,
            None,
            1,
            "descriptor_invalid: no key of the key set has this kid",
        ),
        (
            "eyJhbGciOiJub25lIn0.e30.".into(),
            None,
            1,
            "descriptor_invalid: malformed signature: empty",
        ),
        (
            String::new(),
            None,
            1,
            "descriptor_invalid: malformed token: not three parts",
        ),
    ] {
        let mut command = connectctl(home.path());
        command
            .args(["inspect", "--authority", ISSUER, "--offline"])
            .arg(home.path().join("jwks.json"));
        if let Some(audience) = audience {
            command.args(["--audience", audience]);
        }
        let (exit, stdout, stderr) = run(command.write_stdin(token.clone()));
        assert_eq!(exit, code, "{token}: {stderr}");
        let said = if code == 0 { &stdout } else { &stderr };
        assert!(said.contains(reason), "{reason}: {said}");
        assert_eq!(stdout.contains("good:"), code == 0, "{stdout}");

        let (exit, stdout, _) = run(command.arg("--json").write_stdin(token));
        let verdict: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((exit, verdict["good"] == true), (code, code == 0));
        assert_eq!(verdict["issuer_checked"] == true, code == 0);
        let audience_checked = code == 0 && audience.is_some();
        assert_eq!(verdict["audience_checked"] == true, audience_checked);
    }
}

#[test]
fn inspecting_without_an_authority_says_that_the_issuer_was_not_checked() {
    const ENDPOINT: &str = "https://mcp.example/mcp";
    let home = with_public_keys(1);
    let token = descriptor("https://anyone.example", ENDPOINT, unix_now())
        .mint(&SigningKey::from_seed(&[1; 32]))
        .unwrap();
    for (arguments, checked) in [
        (&[] as &[_], "form, signature and lifetime"),
        (
            &["--audience", ENDPOINT],
            "form, signature, lifetime and audience",
        ),
    ] {
        let mut command = connectctl(home.path());
        command
            .args(["inspect", "--offline"])
            .arg(home.path().join("jwks.json"))
            .args(arguments);
        let (code, stdout, stderr) = run(command.write_stdin(token.clone()));
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.ends_with(&format!("good: {checked}\n")), "{stdout}");
        assert!(stderr.contains("issuer was not checked"), "{stderr}");

        let (_, stdout, _) = run(command.arg("--json").write_stdin(token.clone()));
        let verdict: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (&verdict["issuer_checked"], &verdict["audience_checked"]),
            (&json!(false), &json!(!arguments.is_empty()))
        );
    }
}

#[test]
fn settings_come_from_flags_then_the_environment_then_the_profile() {
    // A port that nobody listens on names itself in the error.
    let dead = |port: u16| format!("http://127.0.0.1:{port}");
    let (flag, variable, profile, other) = (dead(1), dead(2), dead(3), dead(4));
    let home = tempdir().unwrap();
    let directory = home.path().join(".config/connectctl");
    fs::create_dir_all(&directory).unwrap();
    fs::write(
        directory.join("config.toml"),
        format!("[profiles.default]\nauthority = \"{profile}\"\n[profiles.other]\nauthority = \"{other}\"\n"),
    )
    .unwrap();
    let variables: &[(&str, &str)] = &[("CONNECT_AUTHORITY", &variable)];
    for (flags, environment, expected) in [
        (vec![], &[] as &[_], &profile),
        (vec!["--profile", "other"], &[], &other),
        (vec![], variables, &variable),
        (vec![], &[("CONNECT_AUTHORITY", "")], &profile),
        (vec!["--profile", "other"], variables, &variable),
        (vec!["--authority", &flag], variables, &flag),
    ] {
        let mut command = connectctl(home.path());
        command
            .args(["servers", "search"])
            .args(&flags)
            .envs(environment.iter().copied());
        let (code, stdout, stderr) = run(&mut command);
        assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
        assert!(stderr.contains(expected.as_str()), "{flags:?}: {stderr}");
        assert!(
            stderr.contains("can't be reached") && stderr.contains("next:"),
            "{stderr}"
        );
    }
}

#[test]
fn a_faulty_profile_is_named_without_its_secrets() {
    let home = tempdir().unwrap();
    let file = home.path().join("config.toml");
    for (content, problem) in [
        (
            "[profiles.default]\noperator_tokn = \"s3cret\"\n",
            "operator_tokn",
        ),
        ("[profiles.default]\noperator_token = \"s3cret\n", "line 2"),
        ("[profile.default]\n", "profile"),
        ("[profiles.other]\n", "no profile \"mine\""),
    ] {
        fs::write(&file, content).unwrap();
        let mut command = connectctl(home.path());
        command
            .args(["servers", "search", "--profile", "mine", "--config"])
            .arg(&file);
        let (code, _, stderr) = run(&mut command);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(problem), "{problem}: {stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
}

#[cfg(unix)]
#[test]
fn warns_of_a_profile_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt;

    let home = tempdir().unwrap();
    let file = home.path().join("config.toml");
    fs::write(
        &file,
        "[profiles.default]\nauthority = \"http://127.0.0.1:1\"\n",
    )
    .unwrap();
    for (mode, warns) in [(0o644, true), (0o640, true), (0o600, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = connectctl(home.path());
        let (_, _, stderr) = run(command
            .args(["servers", "search"])
            .env("CONNECT_CONFIG", &file));
        assert_eq!(stderr.contains("chmod 600"), warns, "{mode:o}: {stderr}");
    }
}
