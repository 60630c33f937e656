//! Rows of D1.

use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value},
};
use serde_json::{Map, Value};

use super::StoreError;

/// Each column that is not NULL, under its own name. What administrators read goes over the wire as
/// it is: there the query says what is shown.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Row(Map<String, Value>);

impl Row {
    /// As `JSON.stringify` writes rows.
    pub(super) fn read_all(json: &str) -> Result<Vec<Self>, StoreError> {
        let rows: Vec<Map<String, Value>> = serde_json::from_slice(json.as_bytes())
            .map_err(|error| StoreError::Unavailable(format!("rows of D1: {error}")))?;
        Ok(rows.into_iter().map(Self::without_nulls).collect())
    }

    fn without_nulls(mut columns: Map<String, Value>) -> Self {
        columns.retain(|_, value| !value.is_null());
        Self(columns)
    }

    pub(crate) fn with(mut self, column: &str, value: impl Into<Value>) -> Self {
        self.0.insert(column.to_owned(), value.into());
        self
    }

    pub(super) fn remove(&mut self, column: &str) -> Option<Value> {
        self.0.remove(column)
    }

    /// These columns alone.
    pub(super) fn only(mut self, columns: &[&str]) -> Self {
        self.0
            .retain(|column, _| columns.contains(&column.as_str()));
        self
    }

    /// Empty where there is none.
    pub(crate) fn text(&self, column: &str) -> &str {
        self.optional(column).unwrap_or_default()
    }

    pub(crate) fn optional(&self, column: &str) -> Option<&str> {
        self.0.get(column).and_then(Value::as_str)
    }

    pub(super) fn owned(&self, column: &str) -> Option<String> {
        self.optional(column).map(str::to_owned)
    }

    /// A text that must be there.
    pub(super) fn required(&self, column: &str) -> Result<String, StoreError> {
        self.owned(column).ok_or_else(|| missing(column))
    }

    pub(crate) fn number(&self, column: &str) -> Option<u64> {
        self.0.get(column).and_then(Value::as_u64)
    }

    pub(super) fn real(&self, column: &str) -> f64 {
        self.0.get(column).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// What is true in SQL.
    pub(super) fn flag(&self, column: &str) -> bool {
        self.number(column) == Some(1)
    }

    /// A text that is one of a few. What it is can't be told from a text that is none of them.
    pub(super) fn one_of<'de, T: Deserialize<'de>>(
        &'de self,
        column: &str,
    ) -> Result<T, StoreError> {
        self.optional_one_of(column)?.ok_or_else(|| missing(column))
    }

    pub(super) fn optional_one_of<'de, T: Deserialize<'de>>(
        &'de self,
        column: &str,
    ) -> Result<Option<T>, StoreError> {
        let Some(text) = self.optional(column) else {
            return Ok(None);
        };
        T::deserialize(text.into_deserializer())
            .map(Some)
            .map_err(|error: value::Error| {
                StoreError::Unavailable(format!("the column {column}: {error}"))
            })
    }
}

/// A column whose JSON is not what was written there.
#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
pub(super) fn unreadable(column: &str, error: serde_json::Error) -> StoreError {
    StoreError::Unavailable(format!("the column {column}: {error}"))
}

fn missing(column: &str) -> StoreError {
    StoreError::Unavailable(format!("D1 left out the column {column}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(json: &str) -> Vec<Row> {
        Row::read_all(json).unwrap()
    }

    #[test]
    fn what_is_null_is_not_there() {
        let rows = rows(r#"[{"name":"a","label":null,"at":1700000000000}]"#);
        let row = &rows[0];
        assert_eq!(row.text("name"), "a");
        assert_eq!(row.optional("label"), None);
        assert_eq!(row.number("at"), Some(1_700_000_000_000));
        assert_eq!(
            serde_json::to_string(row).unwrap(),
            r#"{"at":1700000000000,"name":"a"}"#
        );
    }

    #[test]
    fn what_must_be_there_is_named() {
        let rows = rows(r#"[{"status":"odd","flag":1,"other":0}]"#);
        let row = &rows[0];
        let problem = row.required("name").unwrap_err().to_string();
        assert!(problem.contains("name"), "{problem}");
        let status = row.one_of::<super::super::Status>("status");
        let problem = status.unwrap_err().to_string();
        assert!(problem.contains("status"), "{problem}");
        assert!(row.flag("flag") && !row.flag("other") && !row.flag("none"));
    }
}
