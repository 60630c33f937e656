//! Reads the command line, and says what is wrong with one that can't be read: which command, what it needs, and what
//! may have been meant.

use std::{ffi::OsString, process::ExitCode};

use clap::{
    Arg, Command, CommandFactory, Error, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{cli::Cli, failure::Failure, output};

/// The most commands that a hint names.
const MAX_NAMED: usize = 4;

/// Words that people try, each with the commands that do what they mean; the first that there is counts.
const SYNONYMS: [(&[&str], &[&str]); 11] = [
    (
        &["delete", "remove", "rm", "del", "destroy", "drop", "revoke"],
        &["remove", "revoke", "suspend"],
    ),
    (
        &["add", "new", "register", "make", "create", "generate"],
        &["create", "add", "generate", "set"],
    ),
    (&["ls", "all", "list"], &["list", "status", "history"]),
    (
        &[
            "get", "info", "describe", "view", "cat", "print", "read", "show",
        ],
        &["show", "status", "list"],
    ),
    (
        &[
            "enable",
            "activate",
            "unsuspend",
            "unblock",
            "unrevoke",
            "restore",
            "release",
            "unquarantine",
        ],
        &["resume", "reinstate"],
    ),
    (
        &["disable", "deactivate", "block", "ban", "stop"],
        &["suspend", "revoke"],
    ),
    (&["hold", "pause", "freeze"], &["quarantine", "suspend"]),
    (
        &["find", "query", "grep", "search"],
        &["search", "explain", "list"],
    ),
    (&["approve"], &["verify"]),
    (
        &["update", "edit", "change", "put", "modify", "replace"],
        &["set", "role", "rotate"],
    ),
    (
        &["renew", "roll", "refresh"],
        &["rotate", "rebuild", "sync"],
    ),
];

/// What a command line asks for.
pub(crate) enum Request {
    Run(Box<Cli>),
    /// Help or the version, which was printed.
    Answered(ExitCode),
}

pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let error = match Cli::try_parse_from(&arguments) {
        Ok(cli) => return Ok(Request::Run(Box::new(cli))),
        Err(error) => error,
    };
    let wants_json = arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json");
    output::choose_json(wants_json);
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let lacks_command = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help || (lacks_command && !wants_json) {
        let _ = error.print();
        return Ok(Request::Answered(if is_help {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        }));
    }
    Err(explain(&error, &arguments))
}

/// A sentence for what clap found, and what to do.
fn explain(error: &Error, arguments: &[OsString]) -> Failure {
    let root = built();
    let (path, command) = addressed(&root, arguments);
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let help = format!("`{path} --help` tells more");
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let tried = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            Failure::usage(format!("there is no command `{path} {tried}`"))
                .hint(meant(&root, command, &path, tried))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Failure::usage(format!("`{path}` needs a command")).hint(there_are(command))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(missing)) => missing.clone(),
                _ => Vec::new(),
            };
            Failure::usage(format!("`{path}` needs {}", missing.join(" and ")))
                .hint(usage(&path, command, &missing))
        }
        ErrorKind::UnknownArgument => {
            let tried = text(ContextKind::InvalidArg).unwrap_or_default();
            if let Some((option, value)) = option_before(command, arguments, tried) {
                return begins_with_dash(option, value);
            }
            let failure = if tried.starts_with('-') {
                Failure::usage(format!("`{path}` has no option {tried}"))
            } else {
                Failure::usage(format!("`{path}` does not take {tried:?}"))
            };
            let names = command.get_arguments().filter_map(Arg::get_long);
            let tried = tried.trim_start_matches('-').split('=').next();
            match nearest(tried.unwrap_or_default(), names) {
                Some(name) => failure.hint(format!("did you mean --{name}?")),
                None => failure.hint(help),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let argument = text(ContextKind::InvalidArg).unwrap_or("an argument");
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let failure = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
                    let valid = valid.join(", ");
                    if value.is_empty() {
                        Failure::usage(format!("{argument} needs a value, one of {valid}"))
                    } else {
                        Failure::usage(format!("{argument}: {value:?} is none of {valid}"))
                    }
                }
                _ if value.is_empty() && std::error::Error::source(error).is_none() => {
                    Failure::usage(format!("{argument} needs a value"))
                }
                _ => {
                    let why = std::error::Error::source(error).map(ToString::to_string);
                    let why = why.unwrap_or_else(|| "is not valid".to_owned());
                    Failure::usage(format!("{argument}: {value:?} {}", joined(&why)))
                }
            };
            failure.hint(elsewhere(&path, value).unwrap_or(help))
        }
        ErrorKind::ArgumentConflict => {
            let one = text(ContextKind::InvalidArg).unwrap_or_default();
            let other = text(ContextKind::PriorArg).unwrap_or("another option");
            Failure::usage(format!("{one} can't be given together with {other}")).hint(help)
        }
        _ => {
            let shown = error.to_string();
            let first = shown.lines().next().unwrap_or_default();
            Failure::usage(first.trim_start_matches("error: ").to_owned()).hint(help)
        }
    }
}

/// A reason that begins like "must be …" continues the sentence; another one follows a colon.
fn joined(why: &str) -> String {
    if ["must", "is "].iter().any(|begin| why.starts_with(begin)) {
        why.to_owned()
    } else {
        format!("can't be used: {why}")
    }
}

/// The option that was to have a value, and the value: clap took it for an option of its own, or the other way round.
fn option_before<'a>(
    command: &Command,
    arguments: &'a [OsString],
    tried: &str,
) -> Option<(&'a str, &'a str)> {
    let known = |word: &str| {
        let name = word.strip_prefix("--")?;
        command
            .get_arguments()
            .find(|known| known.get_long() == Some(name))
    };
    let words = || arguments.iter().filter_map(|argument| argument.to_str());
    words().zip(words().skip(1)).find(|(option, value)| {
        known(option).is_some_and(|option| {
            let is_tried = tried.starts_with('-') && value.starts_with(tried);
            let took_option = option.is_allow_hyphen_values_set() && known(value).is_some();
            option.get_action().takes_values() && (is_tried || took_option)
        })
    })
}

fn begins_with_dash(option: &str, value: &str) -> Failure {
    Failure::usage(format!(
        "{option} needs a value, and {value:?} begins with a dash, as options do"
    ))
    .hint(format!(
        "give {option} its value; if it does begin with a dash, write {option}={value}"
    ))
}

/// The whole tree of commands, with the global options in each.
fn built() -> Command {
    let mut root = Cli::command();
    root.build();
    root
}

/// The command that the arguments lead to, and how it is called.
fn addressed<'a>(root: &'a Command, arguments: &[OsString]) -> (String, &'a Command) {
    let (mut path, mut command) = (root.get_name().to_owned(), root);
    let mut is_value = false;
    for argument in arguments
        .iter()
        .skip(1)
        .filter_map(|argument| argument.to_str())
    {
        if argument == "--" {
            break;
        }
        if std::mem::take(&mut is_value) {
            continue;
        }
        if let Some(option) = argument.strip_prefix("--") {
            let known = command
                .get_arguments()
                .find(|known| known.get_long() == Some(option));
            is_value = known.is_some_and(|known| known.get_action().takes_values());
        } else if let Some(next) = command.find_subcommand(argument) {
            command = next;
            path = format!("{path} {argument}");
        } else {
            break;
        }
    }
    (path, command)
}

/// The command with what it can't do without, and nothing else.
fn usage(path: &str, command: &Command, missing: &[String]) -> String {
    let needed = command
        .get_arguments()
        .filter(|argument| argument.is_required_set() && !argument.is_global_set())
        .map(shown);
    let mut words: Vec<String> = vec![path.to_owned()];
    words.extend(needed);
    for argument in missing {
        if !words.contains(argument) {
            words.push(argument.clone());
        }
    }
    words.join(" ")
}

/// An argument as clap writes it where it is missing.
fn shown(argument: &Arg) -> String {
    argument.to_string().trim_end_matches("...").to_owned()
}

/// What somebody may have meant by a command that there isn't.
fn meant(root: &Command, command: &Command, path: &str, tried: &str) -> String {
    let names = || command.get_subcommands().map(Command::get_name);
    let synonym = SYNONYMS
        .iter()
        .filter(|(words, _)| words.contains(&tried))
        .flat_map(|(_, commands)| *commands)
        .find_map(|name| names().find(|known| known == name));
    // A word that means something else is no slip: `get` is not `set`.
    if let Some(name) = synonym.or_else(|| nearest(tried, names())) {
        let about = command
            .find_subcommand(name)
            .and_then(Command::get_about)
            .map(ToString::to_string);
        return match about {
            Some(about) => format!("did you mean `{path} {name}`? It {}", lower_first(&about)),
            None => format!("did you mean `{path} {name}`?"),
        };
    }
    let mut elsewhere = Vec::new();
    called(root, root.get_name(), tried, &mut elsewhere);
    if (1..=MAX_NAMED).contains(&elsewhere.len()) {
        return format!("did you mean `{}`?", elsewhere.join("` or `"));
    }
    there_are(command)
}

/// Every command of this name, wherever it stands.
fn called(command: &Command, path: &str, name: &str, found: &mut Vec<String>) {
    for below in command.get_subcommands() {
        let path = format!("{path} {}", below.get_name());
        if below.get_name() == name {
            found.push(path.clone());
        }
        called(below, &path, name, found);
    }
}

/// The command for a value that another command takes.
fn elsewhere(path: &str, value: &str) -> Option<String> {
    (path == "connectctl revoke" && value == "server")
        .then(|| "`connectctl servers revoke` revokes a server or one version of it".to_owned())
}

fn there_are(command: &Command) -> String {
    let names: Vec<&str> = command
        .get_subcommands()
        .map(Command::get_name)
        .filter(|name| *name != "help")
        .collect();
    format!("there are {}", names.join(", "))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// The name that is a slip of the fingers away: one letter, or two of a long word. Among short ones, two letters make
/// another word: `rename` is not `resume`.
fn nearest<'a>(tried: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = if tried.chars().count() < 8 { 1 } else { 2 };
    names
        .map(|name| (distance(tried, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

/// How many letters have to be put in, taken out, changed or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let at =
                |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut fewest = (at(&last, j) + usize::from(a != b))
                .min(at(&last, j + 1) + 1)
                .min(at(&row, j) + 1);
            let is_swapped =
                i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a);
            if is_swapped {
                fewest = fewest.min(at(&before, j - 1) + 1);
            }
            row.push(fewest);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> (String, String) {
        let words = ["connectctl"].iter().chain(arguments).map(OsString::from);
        match read(words) {
            Err(failure) => (failure.message, failure.hint.unwrap_or_default()),
            Ok(_) => panic!("{arguments:?}"),
        }
    }

    #[test]
    fn a_command_that_there_is_not_leads_to_one_that_does_it() {
        for (arguments, hint) in [
            (&["clients", "remove"][..], "`connectctl clients suspend`"),
            (&["clients", "delete"], "`connectctl clients suspend`"),
            (
                &["clients", "keys", "rm"],
                "`connectctl clients keys revoke`",
            ),
            (&["servers", "delete"], "`connectctl servers revoke`"),
            (&["providers", "delete"], "`connectctl providers remove`"),
            (&["tenants", "enable"], "`connectctl tenants resume`"),
            (&["keys", "revok"], "`connectctl keys revoke`"),
            (&["keys", "create"], "`connectctl keys generate`"),
            (&["keys", "list"], "`connectctl keys status`"),
            (&["policy", "get"], "`connectctl policy show`"),
            (&["policy", "cat"], "`connectctl policy show`"),
            (&["policy", "list"], "`connectctl policy history`"),
            (&["policy", "create"], "`connectctl policy set`"),
            (&["policy", "edit"], "`connectctl policy set`"),
            (&["policy", "sett"], "`connectctl policy set`"),
            (&["clients", "get"], "`connectctl clients list`"),
            (&["clients", "add"], "`connectctl clients create`"),
            (&["clients", "ls"], "`connectctl clients list`"),
            (&["clients", "rename"], "there are create, suspend"),
            (&["tenants", "get"], "`connectctl tenants show`"),
            (&["providers", "create"], "`connectctl providers add`"),
            (&["providers", "revoke"], "`connectctl providers remove`"),
            (&["servers", "approve"], "`connectctl servers verify`"),
            (&["servers", "hold"], "`connectctl servers quarantine`"),
            (&["mirror", "get"], "`connectctl mirror status`"),
            (&["audit", "show"], "`connectctl audit list`"),
            (&["tenants", "craete"], "`connectctl tenants create`"),
            (&["quarantine"], "`connectctl servers quarantine`"),
            (&["bogus"], "there are keys, clients"),
            (
                &["clients", "bogus"],
                "there are create, suspend, resume, list, keys",
            ),
        ] {
            let (message, found) = refused(arguments);
            assert!(
                message.starts_with("there is no command `connectctl "),
                "{message}"
            );
            assert!(found.contains(hint), "{arguments:?}: {found}");
            assert!(!found.contains("clients resume"), "{arguments:?}: {found}");
        }
    }

    #[test]
    fn usage_is_what_is_needed_and_nothing_else() {
        for (arguments, message, hint) in [
            (
                &["clients", "keys", "rotate", "x"][..],
                "`connectctl clients keys rotate` needs --reason <REASON>",
                "connectctl clients keys rotate <ID> --reason <REASON>",
            ),
            (
                &["--authority", "clients", "keys", "revoke"],
                "`connectctl keys revoke` needs <KID> and --reason <REASON>",
                "connectctl keys revoke <KID> --reason <REASON>",
            ),
        ] {
            let (found, usage) = refused(arguments);
            let mut words: Vec<&str> = found.split(' ').collect();
            let mut expected: Vec<&str> = message.split(' ').collect();
            words.sort_unstable();
            expected.sort_unstable();
            assert_eq!(words, expected);
            assert_eq!(usage, hint);
        }
    }

    #[test]
    fn what_can_not_be_used_is_named() {
        for (arguments, message, hint) in [
            (
                &["audit", "list", "--frob"][..],
                "`connectctl audit list` has no option --frob",
                "--help",
            ),
            (
                &["audit", "list", "--acton", "x"],
                "has no option --acton",
                "--action",
            ),
            (
                &["audit", "list", "--since", "yesterday"],
                "must be a day of UTC",
                "--help",
            ),
            (
                &["revoke", "server", "a", "--reason", "x"],
                "is none of jti, client, tenant, key",
                "servers revoke",
            ),
            (
                &["clients", "create", "x", "--no-key", "--for", "90d"],
                "can't be given together with",
                "--help",
            ),
            (
                &["--json", "clients"],
                "`connectctl clients` needs a command",
                "there are create",
            ),
        ] {
            let (found, next) = refused(arguments);
            assert!(found.contains(message), "{found}");
            assert!(next.contains(hint), "{next}");
        }
    }

    #[test]
    fn a_value_is_told_with_what_it_may_be() {
        for (arguments, message, hint) in [
            (
                &["audit", "list", "--limit", "900"][..],
                "--limit <LIMIT>: \"900\" must be a whole number, 1 to 100",
                "--help",
            ),
            (
                &["audit", "list", "--limit", "x"],
                "--limit <LIMIT>: \"x\" must be a whole number, 1 to 100",
                "--help",
            ),
            (
                &["audit", "list", "--limit", "-5"],
                "--limit <LIMIT>: \"-5\" must be a whole number, 1 to 100",
                "--help",
            ),
            (
                &["audit", "export", "--after", "1.5"],
                "--after <SEQ>: \"1.5\" must be a whole number, 0 to 9007199254740991",
                "--help",
            ),
            (
                &["policy", "show", "--version", "99999999999"],
                "must be a whole number, 0 to 4294967295",
                "--help",
            ),
            (
                &["keys", "rotate", "f", "--wait", "-1"],
                "\"-1\" must be a whole number, 0 to 2592000",
                "--help",
            ),
            (
                &["call", "a1/b1", "t", "--timeout", "-1"],
                "\"-1\" must be 1 to 86400 seconds",
                "--help",
            ),
            (
                &["policy", "explain", "a1/b1", "--client"],
                "--client <CLIENT> needs a value",
                "--help",
            ),
            (
                &["policy", "explain", "a1/b1", "--client", "-x"],
                "--client needs a value, and \"-x\" begins with a dash",
                "--client=-x",
            ),
            (
                &["audit", "list", "--subject", "--acton"],
                "--subject needs a value, and \"--acton\" begins with a dash",
                "--subject=--acton",
            ),
            (
                &["clients", "keys", "revoke", "a", "--key", "--reason", "r"],
                "--key needs a value, and \"--reason\" begins with a dash",
                "--key its value",
            ),
            (
                &["whoami", "--operator-token", "--json"],
                "\"--json\" is an option, not a value",
                "--help",
            ),
            (
                &["servers", "verify", "a1/b1@9.9.9", "--reason", "r"],
                "for a server with all its versions: write a1/b1",
                "--help",
            ),
            (
                &[
                    "clients",
                    "keys",
                    "rotate",
                    "a",
                    "--reason",
                    "r",
                    "--overlap",
                    "31d",
                ],
                "at most 30d; 0 ends the other keys at once",
                "--help",
            ),
        ] {
            let (found, next) = refused(arguments);
            assert!(found.contains(message), "{found}");
            assert!(!found.trim_end().ends_with("one of"), "{found}");
            assert!(next.contains(hint), "{next}");
        }
    }

    #[test]
    fn a_slip_is_one_letter_or_two() {
        for (one, other, far) in [
            ("", "", 0),
            ("revoke", "revok", 1),
            ("craete", "create", 1),
            ("remove", "resume", 3),
            ("list", "", 4),
        ] {
            assert_eq!(distance(one, other), far, "{one} {other}");
            assert_eq!(distance(other, one), far, "{other} {one}");
        }
    }
}
