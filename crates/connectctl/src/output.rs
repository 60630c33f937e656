//! What goes to the terminal. Whatever comes from the network may be hostile: no control character
//! of it gets through.

use std::{
    fmt::Write as _,
    io::{self, ErrorKind, Read, Write as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use crossterm::style::force_color_output;
use indicatif::{ProgressBar, ProgressStyle};
use mcp_connect_catalog::is_format;
use mcp_connect_descriptor::strict_json;
use owo_colors::OwoColorize;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::Changed,
    cli,
    failure::{Failure, io_reason},
    paging::Page,
};

/// More than any input has: the dump of the official registry has 4 MB.
const MAX_INPUT_BYTES: u64 = 256 * 1024 * 1024;

/// Whether standard error is for machines: set once, before anything is written.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// With `--json`, errors and warnings are JSON too, one object a line, and remarks are left out.
pub(crate) fn choose_json(json: bool) {
    AS_JSON.store(json, Ordering::Relaxed);
}

fn is_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// Colours are always made, and taken out again by anstream where they don't belong.
pub(crate) fn choose_color(when: cli::Color) {
    force_color_output(true);
    match when {
        cli::Color::Auto => anstream::ColorChoice::Auto,
        cli::Color::Always => anstream::ColorChoice::Always,
        cli::Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Whether a character may change how a terminal shows the rest, or hide something.
fn is_unprintable(c: char) -> bool {
    c.is_control() || is_format(c)
}

/// The text on one line, without a character that could do more than be read.
pub(crate) fn printable(text: &str) -> String {
    escape(text, is_unprintable)
}

/// The text with its own lines and tabs.
pub(crate) fn printable_lines(text: &str) -> String {
    escape(text, |c| is_unprintable(c) && !matches!(c, '\n' | '\t'))
}

fn escape(text: &str, must: impl Fn(char) -> bool) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            if must(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
            out
        })
}

/// Prints JSON in which nothing unprintable stands raw.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::unavailable(format!("can't write JSON: {error}")))?;
    line(&escape_json(&text))
}

/// … on one line.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::unavailable(format!("can't write JSON: {error}")))?;
    line(&escape_json(&text))
}

/// What a change has made of something, as a table or as JSON.
pub(crate) fn change<T: Serialize>(
    answer: &Changed<T>,
    table: impl FnOnce(&T) -> Table,
    as_json: bool,
) -> Result<(), Failure> {
    if as_json {
        return json(answer);
    }
    print_table(&table(&answer.subject))?;
    if !answer.changed {
        note("It was so already: nothing changed.");
    }
    Ok(())
}

/// A list, under its own name in JSON, or as a table.
pub(crate) fn page<T: Serialize>(
    name: &str,
    page: &Page<T>,
    table: impl FnOnce(&[T]) -> Table,
    as_json: bool,
) -> Result<(), Failure> {
    if as_json {
        return match &page.next_cursor {
            Some(cursor) => json(&json!({ name: page.items, "next_cursor": cursor })),
            None => json(&json!({ name: page.items })),
        };
    }
    print_table(&table(&page.items))?;
    if page.items.is_empty() {
        note("There is nothing to list.");
    }
    if page.next_cursor.is_some() {
        note("There are more: --all shows them.");
    }
    Ok(())
}

/// The same JSON without anything unprintable. Outside of strings there is nothing but ASCII, and in them C0 is escaped already: only the line
/// breaks between members are control characters that stay.
pub(crate) fn escape_json(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            if c != '\n' && is_unprintable(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            } else {
                out.push(c);
            }
            out
        })
}

/// Prints to standard output. A reader that has gone is no failure.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::unavailable(format!(
            "can't write the output: {}",
            io_reason(&error)
        ))),
        _ => Ok(()),
    }
}

/// A remark beside the output, for people.
pub(crate) fn note(text: &str) {
    if !is_json() {
        let _ = writeln!(anstream::stderr(), "{}", printable(text));
    }
}

pub(crate) fn warn(text: &str) {
    if is_json() {
        return machine_line(&json!({ "warning": text }));
    }
    let label = "warning:".yellow().bold().to_string();
    let _ = writeln!(anstream::stderr(), "{label} {}", printable(text));
}

pub(crate) fn report(failure: &Failure) {
    if is_json() {
        return machine_line(&json!({ "error": failure }));
    }
    let label = "error:".red().bold().to_string();
    let _ = writeln!(
        anstream::stderr(),
        "{label} {}",
        printable(&failure.message)
    );
    if let Some(hint) = &failure.hint {
        let _ = writeln!(anstream::stderr(), "  next: {}", printable(hint));
    }
}

/// A line of standard error for machines.
fn machine_line(value: &Value) {
    let _ = writeln!(anstream::stderr(), "{}", escape_json(&value.to_string()));
}

/// On standard error, and only where that is a terminal.
pub(crate) fn progress_bar(count: usize, unit: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    ProgressBar::new(count as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A table that fits into the terminal.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = plain_table();
    table.set_header(
        header
            .iter()
            .map(|name| cell(name).add_attribute(Attribute::Bold)),
    );
    keep_whole(&mut table, 0);
    table
}

/// What things are called has to be copied in one piece.
pub(crate) fn keep_whole(table: &mut Table, column: usize) {
    if let Some(names) = table.column_mut(column) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// One thing, member by member.
pub(crate) fn record(members: impl IntoIterator<Item = (&'static str, Cell)>) -> Table {
    let mut table = plain_table();
    for (name, value) in members {
        table.add_row([cell(name).add_attribute(Attribute::Bold), value]);
    }
    table
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .enforce_styling();
    table
}

pub(crate) fn print_table(table: &Table) -> Result<(), Failure> {
    line(&table.trim_fmt())
}

pub(crate) fn cell(text: &str) -> Cell {
    Cell::new(printable(text))
}

pub(crate) fn maybe(text: Option<&str>) -> Cell {
    cell(text.unwrap_or("–"))
}

pub(crate) fn status(status: &str) -> Cell {
    let cell = cell(status);
    match status {
        "active" => cell.fg(Color::Green),
        "revoked" | "deleted" | "quarantined" | "suspended" => cell.fg(Color::Red),
        _ => cell.fg(Color::Yellow),
    }
}

pub(crate) fn verified(verified: bool) -> Cell {
    if verified {
        cell("verified").fg(Color::Green)
    } else {
        cell("unverified").fg(Color::Yellow)
    }
}

/// How far a server is verified, as its authority calls it.
pub(crate) fn level(level: &str) -> Cell {
    match level {
        "none" => verified(false),
        level => cell(level).fg(Color::Green),
    }
}

pub(crate) fn health(health: &str) -> Cell {
    let cell = cell(health);
    match health {
        "healthy" => cell.fg(Color::Green),
        "unhealthy" => cell.fg(Color::Red),
        _ => cell.fg(Color::Yellow),
    }
}

/// Reads a file, or standard input where it is "-".
pub(crate) fn read_input(path: &Path) -> Result<String, Failure> {
    let what = if path.as_os_str() == "-" {
        "standard input".into()
    } else {
        path.to_string_lossy()
    };
    let fault =
        |error: io::Error| Failure::usage(format!("can't read {what}: {}", io_reason(&error)));
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin()
            .lock()
            .take(MAX_INPUT_BYTES)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_INPUT_BYTES).read_to_end(&mut bytes))
    };
    if read.map_err(fault)? as u64 == MAX_INPUT_BYTES {
        return Err(Failure::usage("the input is longer than 256 MiB"));
    }
    as_text(bytes).map_err(|problem| Failure::usage(format!("{what}: {problem}")))
}

/// What editors and shells write beside UTF-8 is told by its name.
fn as_text(bytes: Vec<u8>) -> Result<String, strict_json::Fault> {
    use strict_json::Fault::{Compressed, Marked, NotUtf8, Utf16};
    match strict_json::explain(&bytes) {
        Some(fault @ (Compressed | Marked | NotUtf8 | Utf16)) => Err(fault),
        _ => String::from_utf8(bytes).map_err(|_| NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_from_outside_moves_the_terminal() {
        for (hostile, shown) in [
            ("plain – ü 日本", "plain – ü 日本"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\rb\nc\td", "a\\rb\\nc\\td"),
            ("exe\u{202e}gnp", "exe\\u{202e}gnp"),
            ("\u{e0041}\u{200b}\u{7f}", "\\u{e0041}\\u{200b}\\u{7f}"),
        ] {
            assert_eq!(printable(hostile), shown);
        }
        assert_eq!(printable_lines("a\n\tb\u{1b}"), "a\n\tb\\u{1b}");
    }

    #[test]
    fn what_is_no_utf8_is_told_by_its_name() {
        for (bytes, said) in [
            (&b"\xef\xbb\xbf{}"[..], "byte order mark"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b"\x1f\x8b\x08\0", "compressed"),
            (b"{\"\xe9\":1}", "not UTF-8"),
        ] {
            let problem = as_text(bytes.to_vec()).unwrap_err().to_string();
            assert!(problem.contains(said), "{problem}");
        }
        assert_eq!(as_text("ü\n".into()).as_deref(), Ok("ü\n"));
    }

    #[test]
    fn json_stays_the_same_value_without_raw_controls() {
        let value = serde_json::json!({"a\u{9b}": ["\u{1b}[31m", "\u{202e}", "\u{e0041}", "ü\n"]});
        let text = escape_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(
            !text.chars().any(|c| c != '\n' && is_unprintable(c)),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }
}
