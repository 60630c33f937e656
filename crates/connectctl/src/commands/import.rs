use std::{collections::VecDeque, path::Path};

use indicatif::ProgressBar;
use mcp_connect_client::ConnectError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    api::{Admin, EntryOutcome, EntryResult},
    cli::ImportArgs,
    config::Settings,
    failure::Failure,
    output,
    retry::patiently,
};

/// What one call takes.
const MAX_BATCH_ENTRIES: usize = 100;
const MAX_CALL_BYTES: usize = 1024 * 1024;
/// Several entries in one call have half of that: escaping may make more of them in the authority.
const MAX_BATCH_BYTES: usize = MAX_CALL_BYTES / 2;
/// `{"servers":[` and `]}`, and a reason: 500 characters, each of at most six bytes.
const ENVELOPE_BYTES: usize = 14 + 3_020;

/// What became of everything, for a person or a machine.
#[derive(Default, Serialize)]
struct Summary {
    imported: usize,
    updated: usize,
    unchanged: usize,
    refused: Vec<RefusedEntry>,
}

#[derive(Debug, Eq, PartialEq, Serialize)]
struct RefusedEntry {
    /// Where it stands in the file, from 0.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    reason: String,
}

impl RefusedEntry {
    /// One that the authority has not read.
    const fn unnamed(index: usize, reason: String) -> Self {
        Self {
            index,
            name: None,
            version: None,
            reason,
        }
    }
}

pub(crate) async fn run(args: &ImportArgs, settings: &Settings, json: bool) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    let text = output::read_input(&args.file)?;
    let entries = parse(&text, &args.file)?;
    let plan = plan(&entries);
    let mut summary = Summary {
        refused: plan.refused,
        ..Summary::default()
    };

    let progress = output::progress_bar(entries.len(), "entries");
    let reason = args.why.reason.as_deref();
    let sent = send_all(&admin, plan.batches, reason, &mut summary, &progress).await;
    progress.finish_and_clear();

    summary.refused.sort_by_key(|entry| entry.index);
    let printed = if json {
        output::json(&summary)
    } else {
        summary.show()
    };
    sent.map_err(|error| stopped(error, summary.handled(), entries.len()))
        .and(printed)
}

/// Sends the batches in their order, and halves one that turns out to be too large for a call.
async fn send_all(
    admin: &Admin,
    batches: Vec<Batch<'_>>,
    reason: Option<&str>,
    summary: &mut Summary,
    progress: &ProgressBar,
) -> Result<(), ConnectError> {
    let mut batches = VecDeque::from(batches);
    progress.set_position(summary.handled() as u64);
    while let Some(mut batch) = batches.pop_front() {
        let raw: Vec<&RawValue> = batch.iter().map(|(_, entry)| *entry).collect();
        // A call is one transaction, and repeating it is safe.
        match patiently(async || admin.import(&raw, reason).await).await {
            Ok(results) => {
                for ((index, _), result) in batch.iter().zip(results) {
                    summary.count(*index, result);
                }
            }
            Err(error) if is_too_large(&error) => {
                if let [(index, _)] = *batch {
                    let refused = RefusedEntry::unnamed(index, error.to_string());
                    summary.refused.push(refused);
                } else {
                    let second_half = batch.split_off(batch.len() / 2);
                    batches.push_front(second_half);
                    batches.push_front(batch);
                }
            }
            Err(error) => return Err(error),
        }
        progress.set_position(summary.handled() as u64);
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(expecting = "an object with the member servers")]
struct Dump<'a> {
    #[serde(borrow)]
    servers: Vec<&'a RawValue>,
}

/// The entries as they stand in the file: what is passed on is what was published.
fn parse<'a>(text: &'a str, file: &Path) -> Result<Vec<&'a RawValue>, Failure> {
    let parsed = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
    } else {
        serde_json::from_str(text).map(|dump: Dump<'_>| dump.servers)
    };
    parsed.map_err(|error| {
        Failure::usage(format!(
            "{} is not a dump of servers: {error}",
            file.display()
        ))
        .hint(r#"expected {"servers": [{"server": …, "_meta": …}, …]} or the list alone"#)
    })
}

type Batch<'a> = Vec<(usize, &'a RawValue)>;

struct Plan<'a> {
    batches: Vec<Batch<'a>>,
    refused: Vec<RefusedEntry>,
}

/// Cuts the entries into calls, in their order. What fits into none is refused here.
fn plan<'a>(entries: &[&'a RawValue]) -> Plan<'a> {
    let mut batches: Vec<Batch<'a>> = Vec::new();
    let mut refused = Vec::new();
    let mut bytes = MAX_BATCH_BYTES;
    for (index, &entry) in entries.iter().enumerate() {
        let size = entry.get().len() + 1;
        let problem = if !entry.get().starts_with('{') {
            Some("it is no JSON object")
        } else if size + ENVELOPE_BYTES > MAX_CALL_BYTES {
            Some("it is longer than the 1 MiB that one call takes")
        } else {
            None
        };
        if let Some(reason) = problem {
            refused.push(RefusedEntry::unnamed(index, reason.to_owned()));
            continue;
        }
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_BATCH_ENTRIES && bytes + size <= MAX_BATCH_BYTES => {
                bytes += size;
                batch.push((index, entry));
            }
            _ => {
                bytes = ENVELOPE_BYTES + size;
                batches.push(vec![(index, entry)]);
            }
        }
    }
    Plan { batches, refused }
}

/// 413 (Content Too Large).
const fn is_too_large(error: &ConnectError) -> bool {
    match error {
        ConnectError::Status(status) => *status == 413,
        ConnectError::Denied(denial) => denial.status == 413,
        _ => false,
    }
}

fn stopped(error: ConnectError, handled: usize, all: usize) -> Failure {
    Failure::from(error)
        .context(&format!(
            "the import stopped after {handled} of {all} entries"
        ))
        .hint("running it again is safe: what is there already stays as it is")
}

impl Summary {
    fn count(&mut self, index: usize, result: EntryResult) {
        match result.outcome {
            EntryOutcome::Imported => self.imported += 1,
            EntryOutcome::Updated => self.updated += 1,
            EntryOutcome::Unchanged => self.unchanged += 1,
            EntryOutcome::Refused => self.refused.push(RefusedEntry {
                index,
                name: result.name,
                version: result.version,
                reason: result.reason.unwrap_or_else(|| "no reason given".into()),
            }),
        }
    }

    const fn handled(&self) -> usize {
        self.imported + self.updated + self.unchanged + self.refused.len()
    }

    fn show(&self) -> Result<(), Failure> {
        if !self.refused.is_empty() {
            let mut table = output::table(&["refused", "entry", "version", "reason"]);
            for entry in &self.refused {
                table.add_row([
                    output::cell(&format!("#{}", entry.index)),
                    output::maybe(entry.name.as_deref()),
                    output::maybe(entry.version.as_deref()),
                    output::cell(&entry.reason),
                ]);
            }
            output::print_table(&table)?;
        }
        output::line(&format!(
            "{} imported, {} updated, {} unchanged, {} refused",
            self.imported,
            self.updated,
            self.unchanged,
            self.refused.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(json: &str) -> (Vec<Vec<usize>>, Vec<usize>) {
        let entries = parse(json, Path::new("test")).unwrap();
        let plan = plan(&entries);
        for batch in &plan.batches {
            let raw: Vec<&RawValue> = batch.iter().map(|(_, entry)| *entry).collect();
            let body = serde_json::json!({ "servers": raw }).to_string();
            let max_bytes = match raw.len() {
                1 => MAX_CALL_BYTES,
                _ => MAX_BATCH_BYTES,
            };
            assert!(raw.len() <= MAX_BATCH_ENTRIES && body.len() <= max_bytes);
        }
        let indices = |batch: &Batch<'_>| batch.iter().map(|(index, _)| *index).collect();
        (
            plan.batches.iter().map(indices).collect(),
            plan.refused.iter().map(|entry| entry.index).collect(),
        )
    }

    fn entry(bytes: usize) -> String {
        format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8))
    }

    #[test]
    fn takes_a_dump_or_the_list_alone() {
        for json in [
            r#" [{"a":1},{"b":2}]"#,
            r#"{"servers":[{"a":1},{"b":2}],"metadata":{}}"#,
        ] {
            assert_eq!(planned(json), (vec![vec![0, 1]], vec![]));
        }
        assert_eq!(planned("[]"), (vec![], vec![]));
        for json in ["", "1", "{}", r#"{"servers":{}}"#, "[1"] {
            assert!(parse(json, Path::new("test")).is_err(), "{json}");
        }
    }

    #[test]
    fn a_batch_has_at_most_a_hundred_entries() {
        let json = format!("[{}]", vec!["{}"; 201].join(","));
        let (batches, refused) = planned(&json);
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!((sizes, refused), (vec![100, 100, 1], vec![]));
    }

    #[test]
    fn a_batch_has_at_most_half_a_mebibyte_and_an_entry_of_its_own_a_whole_one() {
        let third = entry(MAX_BATCH_BYTES / 3);
        let json = format!("[{}]", vec![third; 5].join(","));
        assert_eq!(
            planned(&json),
            (vec![vec![0, 1], vec![2, 3], vec![4]], vec![])
        );

        let largest = entry(MAX_CALL_BYTES - ENVELOPE_BYTES - 1);
        let json = format!(r#"[{{"a":1}},{largest},{{"b":2}}]"#);
        assert_eq!(planned(&json), (vec![vec![0], vec![1], vec![2]], vec![]));
    }

    #[test]
    fn refuses_here_what_fits_into_no_call() {
        let too_large = entry(MAX_CALL_BYTES - ENVELOPE_BYTES);
        let json = format!(r#"[{{"a":1}},null,{too_large},"x",[],{{"b":2}}]"#);
        assert_eq!(planned(&json), (vec![vec![0, 5]], vec![1, 2, 3, 4]));
    }
}
