//! The word that was probably meant.

/// Among more words than this, the nearest is not searched for.
const MOST_COMPARED: usize = 1000;

/// The one of `words` that is nearest to `word`, if one is near.
pub(super) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_lowercase().replace('_', "-");
    let distance =
        |other: &str| strsim::damerau_levenshtein(&word, &other.to_lowercase().replace('_', "-"));
    let words = words.into_iter().take(MOST_COMPARED);
    let (near, distance) = words.map(|w| (w, distance(w))).min_by_key(|(_, d)| *d)?;
    let longest = word.chars().count().max(near.chars().count());
    (distance * 5 <= longest * 2).then_some(near)
}

/// The words in a row, for a message; the first two dozen of many.
pub(super) fn among<W: AsRef<str>>(words: &[W]) -> String {
    const MOST: usize = 24;
    let quoted: Vec<String> =
        words.iter().take(MOST).map(|w| format!("`{}`", w.as_ref())).collect();
    let mut row = quoted.join(", ");
    if words.len() > MOST {
        row.push_str(&format!(" and {} more", words.len() - MOST));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_and_a_different_word_does_not() {
        let words = ["listen", "zones", "workers", "when_all_down"];
        assert_eq!(nearest("lisen", words), Some("listen"));
        assert_eq!(nearest("Zone", words), Some("zones"));
        assert_eq!(nearest("when-all-down", words), Some("when_all_down"));
        assert_eq!(nearest("colour", words), None);
        assert_eq!(nearest("x", []), None);
    }
}
