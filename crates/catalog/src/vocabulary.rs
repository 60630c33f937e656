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
/// The most words that one is compared with letter by letter, whatever somebody publishes.
const MAX_COMPARED: usize = 1000;

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

    fn may_be_in(self, longer: Self) -> bool {
        self.length <= longer.length && self.letters & !longer.letters == 0
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
        let better: Vec<(&str, &str)> = correctable(query)
            .filter_map(|word| Some((word, self.closest(word)?)))
            .collect();
        if better.is_empty() {
            return None;
        }
        query.with_words(&better)
    }

    /// Whether a word of this query is the inside or the end of a known one, and begins none.
    pub fn has_part(&self, query: &SearchQuery) -> bool {
        correctable(query).any(|word| {
            let word = word.to_lowercase();
            let shape = Shape::of(word.chars());
            let mut known = self.words.iter();
            !self.is_begin(&word)
                && known.any(|known| shape.may_be_in(known.shape) && known.word.contains(&word))
        })
    }

    fn is_begin(&self, word: &str) -> bool {
        let from = self.words.partition_point(|known| *known.word < *word);
        let next = self.words.get(from);
        next.is_some_and(|known| known.word.starts_with(word))
    }

    /// The word with the fewest mistakes; of those the one that is found most. `None`: none is like it, or
    /// it is how one begins.
    fn closest(&self, word: &str) -> Option<&str> {
        let word = word.to_lowercase();
        if self.is_begin(&word) {
            return None;
        }
        let shape = Shape::of(word.chars());
        let most = if shape.length >= LONG_CHARS { 2 } else { 1 };
        (1..=most).find_map(|most| {
            let words = self.words.iter();
            let similar = words.filter(|known| shape.may_be(known.shape, most));
            similar
                .take(MAX_COMPARED)
                .filter(|known| osa_distance(&word, &known.word) <= most)
                .max_by_key(|known| known.found)
                .map(|known| &*known.word)
        })
    }
}

fn correctable(query: &SearchQuery) -> impl Iterator<Item = &str> {
    let words = query.words();
    words
        .filter(|word| word.chars().count() >= MIN_CHARS && !word.contains(is_marked))
        .take(MAX_CORRECTED)
}

/// Whether it is a Latin letter with a mark. The index has the words without, and nothing here knows those.
fn is_marked(char: char) -> bool {
    matches!(char, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
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
            ("gîhtub", None),
        ] {
            let query = SearchQuery::parse(text).unwrap();
            let correct = known.correct(&query);
            assert_eq!(correct.as_ref().map(SearchQuery::text), meant, "{text}");
        }
    }

    #[test]
    fn parts_of_words_are_known() {
        let known = vocabulary(&[("github", 2), ("kubernetes", 1)]);
        for (text, is_part) in [
            ("ithub", true),
            ("zzzz UBERNET", true),
            ("gihtub", false),
            ("gihtub kubernetes git", false),
            ("hub", false),
            ("\"ithub\"", false),
        ] {
            let query = SearchQuery::parse(text).unwrap();
            assert_eq!(known.has_part(&query), is_part, "{text}");
        }
    }

    #[test]
    fn a_flood_of_similar_words_is_not_compared_to_its_end() {
        let flood =
            (0..1 << 11).map(|n: u32| format!("{n:011b}").replace('0', "a").replace('1', "b"));
        let words: Vec<String> = flood.chain(["zeros".to_owned()]).collect();
        let words: Vec<(&str, u32)> = words.iter().map(|word| (&**word, 1)).collect();
        let known = vocabulary(&words);
        assert_eq!(known.closest("aaaaaaaaaac"), Some("aaaaaaaaaab"));
        assert_eq!(known.closest("bbbbbbbbbbc"), None);
        assert_eq!(known.closest("zeors"), Some("zeros"));
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
