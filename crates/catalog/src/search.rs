/// What somebody searches for: words, each of which must begin a word of a server's name, title,
/// description or tags, and phrases in quotes, which must stand there as they are. A word to which
/// another is joined, as in a name, is whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SearchQuery {
    text: String,
    words: Vec<Word>,
    /// Words with a blank between them.
    phrases: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Word {
    text: String,
    is_whole: bool,
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
    /// Takes the words and phrases out of a text; everything else only separates them.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.chars().count() > MAX_CHARS {
            return Err(QueryError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(QueryError::Control);
        }
        let (mut words, mut phrases) = (Vec::new(), Vec::new());
        let mut count = 0;
        let mut parts = text.split('"').peekable();
        let mut is_quoted = false;
        while let Some(part) = parts.next() {
            let found = words_of(part);
            count += found.len();
            // What follows a quote that nothing closes is no phrase.
            if is_quoted && parts.peek().is_some() && !found.is_empty() {
                let texts: Vec<&str> = found.iter().map(|word| &*word.text).collect();
                phrases.push(texts.join(" "));
            } else {
                words.extend(found);
            }
            is_quoted = !is_quoted;
        }
        match count {
            0 => Err(QueryError::Wordless),
            1..=MAX_WORDS => Ok(Self {
                text: text.trim().to_owned(),
                words,
                phrases,
            }),
            _ => Err(QueryError::TooManyWords),
        }
    }

    /// As it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The query as an FTS5 expression: each word quoted, and a prefix unless it is whole, so that nothing a
    /// person types is an operator.
    pub fn to_fts5(&self) -> String {
        self.expression(|word| if word.is_whole { "" } else { "*" })
    }

    /// The same, where each word must be there as a whole.
    pub fn to_whole_words(&self) -> String {
        self.expression(|_| "")
    }

    fn expression(&self, after_word: fn(&Word) -> &'static str) -> String {
        let mut expression = String::new();
        for (text, after) in self
            .words
            .iter()
            .map(|word| (&word.text, after_word(word)))
            .chain(self.phrases.iter().map(|phrase| (phrase, "")))
        {
            if !expression.is_empty() {
                expression.push(' ');
            }
            expression.extend(["\"", text, "\"", after]);
        }
        expression
    }

    /// The words outside of phrases.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| &*word.text)
    }

    /// A query for other words in the place of some: pairs of a word and the better one.
    pub(crate) fn with_words(&self, better: &[(&str, &str)]) -> Option<Self> {
        let words = self.words().map(|word| {
            let better = better.iter().find(|(worse, _)| *worse == word);
            better.map_or(word, |(_, better)| better)
        });
        let mut text = words.collect::<Vec<_>>().join(" ");
        for phrase in &self.phrases {
            text.extend([" \"", phrase, "\""]);
        }
        Self::parse(&text).ok()
    }
}

fn words_of(text: &str) -> Vec<Word> {
    let is_between = |char: char| !char.is_alphanumeric();
    let mut parts = text.split_inclusive(is_between).peekable();
    let mut words = Vec::new();
    while let Some(part) = parts.next() {
        let goes_on = parts
            .peek()
            .is_some_and(|next| !next.starts_with(is_between));
        let word = part.trim_end_matches(is_between);
        if !word.is_empty() {
            words.push(Word {
                text: word.to_owned(),
                is_whole: goes_on && part.ends_with(['.', '/', '-', '_']),
            });
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn operators_are_only_separators() {
        for (text, fts5) in [
            ("payment", "\"payment\"*"),
            ("ai.exa/exa-mcp", "\"ai\" \"exa\" \"exa\" \"mcp\"*"),
            ("ai. exa-", "\"ai\"* \"exa\"*"),
            ("node.js, c++", "\"node\" \"js\"* \"c\"*"),
            ("a\" OR name:*", "\"a\"* \"OR\"* \"name\"*"),
            ("'; DROP TABLE x--", "\"DROP\"* \"TABLE\"* \"x\"*"),
            ("Überweisung 支付", "\"Überweisung\"* \"支付\"*"),
        ] {
            assert_eq!(SearchQuery::parse(text).unwrap().to_fts5(), fts5);
        }
    }

    #[test]
    fn what_stands_in_quotes_is_a_phrase() {
        for (text, fts5, whole) in [
            (
                "stripe \"payment links\"",
                "\"stripe\"* \"payment links\"",
                "\"stripe\" \"payment links\"",
            ),
            ("\"a.b\"c\"\"", "\"c\"* \"a b\"", "\"c\" \"a b\""),
            ("\"open end", "\"open\"* \"end\"*", "\"open\" \"end\""),
        ] {
            let query = SearchQuery::parse(text).unwrap();
            assert_eq!(query.to_fts5(), fts5);
            assert_eq!(query.to_whole_words(), whole);
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, error) in [
            ("", QueryError::Wordless),
            (" \"*()^:-", QueryError::Wordless),
            ("a\0b", QueryError::Control),
            ("a b c d e f g h i j k", QueryError::TooManyWords),
            ("a b c \"d e f g h\" i j k", QueryError::TooManyWords),
        ] {
            assert_eq!(SearchQuery::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(
            SearchQuery::parse(&"a".repeat(201)),
            Err(QueryError::TooLong)
        );
    }

    #[test]
    fn other_words_leave_the_rest() {
        let query = SearchQuery::parse("gihtub \"pull requests\" api").unwrap();
        let better = query.with_words(&[("gihtub", "github")]);
        assert_eq!(better.unwrap().text(), "github api \"pull requests\"");
    }

    proptest! {
        #[test]
        fn a_quote_never_reaches_the_inside_of_a_word(text in ".{0,200}") {
            if let Ok(query) = SearchQuery::parse(&text) {
                let parts = query.words.len() + query.phrases.len();
                prop_assert_eq!(query.to_fts5().matches('"').count(), 2 * parts);
                prop_assert_eq!(query.to_whole_words().matches('"').count(), 2 * parts);
            }
        }
    }
}
