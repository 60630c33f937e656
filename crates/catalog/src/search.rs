/// What somebody searches for: up to ten words, all of which must begin a word of a server's name,
/// title or description.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SearchQuery {
    words: Vec<String>,
}

/// Why a text can't be searched for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Has a NUL or another control character.
    #[error("has a control character")]
    Control,
    /// More than 200 characters.
    #[error("is longer than 200 characters")]
    TooLong,
    /// More than ten words.
    #[error("has more than 10 words")]
    TooManyWords,
    /// Only punctuation or blanks.
    #[error("has no letter or digit to search for")]
    Wordless,
}

const MAX_CHARS: usize = 200;
const MAX_WORDS: usize = 10;

impl SearchQuery {
    /// Takes the words out of a text; everything else only separates them.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.chars().count() > MAX_CHARS {
            return Err(QueryError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(QueryError::Control);
        }
        let words: Vec<String> = text
            .split(|char: char| !char.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        match words.len() {
            0 => Err(QueryError::Wordless),
            1..=MAX_WORDS => Ok(Self { words }),
            _ => Err(QueryError::TooManyWords),
        }
    }

    /// The query as an FTS5 expression. Each word is a quoted prefix, so that nothing a person
    /// types is an operator.
    pub fn to_fts5(&self) -> String {
        self.words
            .iter()
            .map(|word| format!("\"{word}\"*"))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn operators_are_only_separators() {
        for (text, fts5) in [
            ("payment", "\"payment\"*"),
            ("ai.exa/exa", "\"ai\"* \"exa\"* \"exa\"*"),
            ("a\" OR name:*", "\"a\"* \"OR\"* \"name\"*"),
            ("'; DROP TABLE x--", "\"DROP\"* \"TABLE\"* \"x\"*"),
            ("Überweisung 支付", "\"Überweisung\"* \"支付\"*"),
        ] {
            assert_eq!(SearchQuery::parse(text).unwrap().to_fts5(), fts5);
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, error) in [
            ("", QueryError::Wordless),
            (" \"*()^:-", QueryError::Wordless),
            ("a\0b", QueryError::Control),
            ("a b c d e f g h i j k", QueryError::TooManyWords),
        ] {
            assert_eq!(SearchQuery::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(
            SearchQuery::parse(&"a".repeat(201)),
            Err(QueryError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn a_quote_never_reaches_the_inside_of_a_word(text in ".{0,200}") {
            if let Ok(query) = SearchQuery::parse(&text) {
                prop_assert_eq!(query.to_fts5().matches('"').count(), 2 * query.words.len());
            }
        }
    }
}
