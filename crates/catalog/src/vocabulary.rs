//! What a mistyped word was probably meant to be.

use strsim::osa_distance;

use crate::SearchQuery;

/// Shorter words are too much like others.
const MIN_CHARS: usize = 4;
/// Words as long as this may have two mistakes: letters left out, put in, changed, or in the place of their
/// neighbour.
const LONG_CHARS: usize = 8;
/// The most words of a query that are corrected.
const MAX_CORRECTED: usize = 5;

/// The words that searches find, each with the number of servers it is found in.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// In the order of their bytes.
    words: Vec<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    word: Box<str>,
    found: u32,
    shape: Shape,
}

/// What tells most words apart without comparing their letters.
#[derive(Clone, Copy, Debug)]
struct Shape {
    length: usize,
    /// A bit for each letter that is there; some letters share one.
    letters: u32,
}

impl Shape {
    fn of(word: impl Iterator<Item = char>) -> Self {
        let nothing = Self {
            length: 0,
            letters: 0,
        };
        word.fold(nothing, |shape, char| Self {
            length: shape.length + 1,
            letters: shape.letters | 1 << (u32::from(char) % u32::BITS),
        })
    }

    /// One mistake makes a word one letter longer or shorter, and at most two letters of it others.
    fn may_be(self, other: Self, most: usize) -> bool {
        let others = (self.letters ^ other.letters).count_ones();
        self.length.abs_diff(other.length) <= most && others as usize <= 2 * most
    }
}

impl Vocabulary {
    /// Of lines that each have a word in small letters, a blank and the number, in the order of the words'
    /// bytes; other lines are left out.
    pub fn parse(lines: &str) -> Self {
        let words = lines.lines().filter_map(|line| {
            let (word, found) = line.split_once(' ')?;
            Some(Known {
                word: word.into(),
                found: found.parse().ok()?,
                shape: Shape::of(word.chars()),
            })
        });
        Self {
            words: words.collect(),
        }
    }

    /// What was probably meant by a query that finds nothing. `None`: no word is better known by another.
    pub fn correct(&self, query: &SearchQuery) -> Option<SearchQuery> {
        let long = query
            .words()
            .filter(|word| word.chars().count() >= MIN_CHARS);
        let better: Vec<(&str, &str)> = long
            .take(MAX_CORRECTED)
            .filter_map(|word| Some((word, self.closest(word)?)))
            .collect();
        if better.is_empty() {
            return None;
        }
        query.with_words(&better)
    }

    /// The word with the fewest mistakes; of those the one that is found most. `None`: none is like it, or
    /// it is how one begins.
    fn closest(&self, word: &str) -> Option<&str> {
        let word = word.to_lowercase();
        let from = self.words.partition_point(|known| *known.word < *word);
        let next = self.words.get(from);
        if next.is_some_and(|known| known.word.starts_with(&word)) {
            return None;
        }
        let shape = Shape::of(word.chars());
        let most = if shape.length >= LONG_CHARS { 2 } else { 1 };
        (1..=most).find_map(|most| {
            let alike = self.words.iter().filter(|known| {
                shape.may_be(known.shape, most) && osa_distance(&word, &known.word) <= most
            });
            let found_most = alike.max_by_key(|known| known.found);
            found_most.map(|known| &*known.word)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vocabulary(words: &[(&str, u32)]) -> Vocabulary {
        let lines = words
            .iter()
            .map(|(word, found)| format!("{word} {found}\n"));
        Vocabulary::parse(&lines.collect::<String>())
    }

    #[test]
    fn the_closest_word_is_meant_and_of_those_the_one_that_is_found_most() {
        let known = vocabulary(&[
            ("git", 70),
            ("github", 900),
            ("githuc", 2),
            ("gitlab", 500),
            ("kubernetes", 1),
        ]);
        for (word, closest) in [
            ("gihtub", Some("github")),
            ("GITHB", Some("github")),
            ("githud", Some("github")),
            ("gitlba", Some("gitlab")),
            ("githhub", Some("github")),
            ("kuberntse", Some("kubernetes")),
            // One mistake too many for its length, or for any.
            ("gihtbu", None),
            ("kubrentse", None),
            ("bitbucket", None),
            // How another begins.
            ("gith", None),
            ("github", None),
        ] {
            assert_eq!(known.closest(word), closest, "{word}");
        }
        assert_eq!(Vocabulary::default().closest("github"), None);
    }

    #[test]
    fn words_are_corrected_and_phrases_and_short_words_left() {
        let known = vocabulary(&[("cats", 1), ("github", 2), ("issues", 1)]);
        for (text, meant) in [
            (
                "gihtub \"pul requests\" isuses",
                Some("github issues \"pul requests\""),
            ),
            ("gihtub gihtub", Some("github github")),
            ("cts github", None),
            ("\"gihtub\"", None),
            ("zzzz gihtub", Some("zzzz github")),
        ] {
            let query = SearchQuery::parse(text).unwrap();
            let correct = known.correct(&query);
            assert_eq!(correct.as_ref().map(SearchQuery::text), meant, "{text}");
        }
    }

    #[test]
    fn what_is_no_word_and_number_is_left_out() {
        let known = Vocabulary::parse("github 3\n\ngitlab\ncats many\n dogs 4\nissues 5");
        let words: Vec<&str> = known.words.iter().map(|known| &*known.word).collect();
        assert_eq!(words, ["github", "issues"]);
    }

    proptest! {
        #[test]
        fn no_word_that_is_alike_is_passed_over(a in "[a-dé支]{0,9}", b in "[a-dé支]{0,9}") {
            let [shape, other] = [&a, &b].map(|word| Shape::of(word.chars()));
            prop_assert!(shape.may_be(other, osa_distance(&a, &b)));
        }
    }
}
