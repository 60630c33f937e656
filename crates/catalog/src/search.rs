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
/// Shorter words are too much like others.
const MIN_CORRECTED_CHARS: usize = 4;
/// Words as long as this may have two mistakes.
const LONG_CHARS: usize = 8;

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

    /// The words that may have been mistyped.
    pub fn correctable(&self) -> impl Iterator<Item = &str> {
        let words = self.words.iter().map(|word| &*word.text);
        words.filter(|word| word.chars().count() >= MIN_CORRECTED_CHARS)
    }

    /// The text with other words in the place of some.
    pub fn corrected(&self, corrections: &[(String, String)]) -> String {
        let mut corrected: Vec<String> = self.words.iter().map(|word| word.text.clone()).collect();
        for word in &mut corrected {
            if let Some((_, better)) = corrections.iter().find(|(wrong, _)| wrong == word) {
                word.clone_from(better);
            }
        }
        corrected.extend(self.phrases.iter().map(|phrase| format!("\"{phrase}\"")));
        corrected.join(" ")
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

/// An FTS5 expression for the words that share three letters in a row with this one, or how it begins
/// or ends, in an index by trigrams of words between blanks.
pub fn similar_words(word: &str) -> String {
    let letters: Vec<char> = format!(" {} ", word.to_lowercase()).chars().collect();
    let mut expression = String::new();
    for trigram in letters.windows(3) {
        if !expression.is_empty() {
            expression.push_str(" OR ");
        }
        expression.push('"');
        expression.extend(trigram);
        expression.push('"');
    }
    expression
}

/// Of words, each with how often it is found, the one that was probably meant. `None`: none of them,
/// or the word itself.
pub fn closest<'a>(word: &str, candidates: &[(&'a str, u64)]) -> Option<&'a str> {
    let letters: Vec<char> = word.to_lowercase().chars().collect();
    let word: String = letters.iter().collect();
    if candidates.iter().any(|(known, _)| known.starts_with(&word)) {
        return None;
    }
    let most = if letters.len() >= LONG_CHARS { 2 } else { 1 };
    let mut best: Option<(usize, u64, &str)> = None;
    for (known, found) in candidates {
        let mistakes = mistakes(&letters, known);
        let is_better = best.is_none_or(|(least, most_found, _)| {
            mistakes < least || (mistakes == least && *found > most_found)
        });
        if mistakes <= most && is_better {
            best = Some((mistakes, *found, known));
        }
    }
    best.map(|(.., known)| known)
}

/// How many letters are left out, put in, changed, or in the place of their neighbour.
fn mistakes(word: &[char], known: &str) -> usize {
    // The rows of the matrix for the two letters before.
    let known: Vec<char> = known.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=known.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    let mut previous = None;
    for (row, letter) in word.iter().enumerate() {
        let mut current = vec![row + 1];
        let mut known_previous = None;
        for (column, other) in known.iter().enumerate() {
            let mut fewest = (at(&last, column) + usize::from(letter != other))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            if column > 0 && known_previous == Some(letter) && previous == Some(other) {
                fewest = fewest.min(at(&before_last, column - 1) + 1);
            }
            current.push(fewest);
            known_previous = Some(other);
        }
        previous = Some(letter);
        before_last = last;
        last = current;
    }
    at(&last, known.len())
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
    fn mistakes_are_counted() {
        for (word, known, expected) in [
            ("github", "github", 0),
            ("gihtub", "github", 1),
            ("githb", "github", 1),
            ("githhub", "github", 1),
            ("gitbub", "github", 1),
            ("kuberntse", "kubernetes", 2),
            ("", "abc", 3),
            ("abc", "", 3),
            ("ab", "ba", 1),
        ] {
            let letters: Vec<char> = word.chars().collect();
            assert_eq!(mistakes(&letters, known), expected, "{word} {known}");
        }
    }

    #[test]
    fn the_closest_word_is_meant_and_of_those_the_one_that_is_found_most() {
        let known = [("github", 900), ("githuc", 2), ("gitlab", 500), ("git", 70)];
        assert_eq!(closest("gihtub", &known), Some("github"));
        assert_eq!(closest("GITHB", &known), Some("github"));
        assert_eq!(closest("githud", &known), Some("github"));
        assert_eq!(closest("gitlba", &known), Some("gitlab"));
        assert_eq!(closest("gith", &known), None, "how others begin");
        assert_eq!(closest("bitbucket", &known), None);
        assert_eq!(closest("kubrentse", &[("kubernetes", 1)]), None);
        assert_eq!(
            closest("kuberntse", &[("kubernetes", 1)]),
            Some("kubernetes")
        );
    }

    #[test]
    fn a_correction_leaves_the_rest() {
        let query = SearchQuery::parse("gihtub \"pull requests\" api").unwrap();
        assert_eq!(query.correctable().collect::<Vec<_>>(), ["gihtub"]);
        let corrected = query.corrected(&[("gihtub".into(), "github".into())]);
        assert_eq!(corrected, "github api \"pull requests\"");
    }

    #[test]
    fn similar_words_share_trigrams() {
        assert_eq!(similar_words("Git"), "\" gi\" OR \"git\" OR \"it \"");
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

        #[test]
        fn mistakes_are_the_same_both_ways(a in "[a-d]{0,6}", b in "[a-d]{0,6}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(mistakes(&letters(&a), &b), mistakes(&letters(&b), &a));
            prop_assert_eq!(mistakes(&letters(&a), &b) == 0, a == b);
        }
    }
}
