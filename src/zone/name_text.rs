//! Names in master files.

use super::entry::Token;
use crate::dns::Name;
use crate::dns::name::NameError;

/// Reads the name that a token of `text` is, relative to `origin`; else says what is wrong and
/// what was expected.
pub(super) fn read(text: &str, token: &Token, origin: &Name) -> Result<Name, (String, String)> {
    let word = &text[token.span.clone()];
    let refused = |message: String, help: &str| Err((message, help.to_string()));
    if token.quoted {
        return refused("a name is not written in quotes".to_string(), "remove the quotes");
    }
    if !word.is_ascii() {
        return refused(
            format!("`{word}` has characters that are not ASCII"),
            "write an internationalised name in its ASCII form, which begins with `xn--`",
        );
    }
    Name::parse_relative(word, origin).or_else(|error| {
        let help = match error {
            NameError::EmptyLabel => "write one dot between two labels",
            NameError::BadEscape => {
                "write `\\` and the character itself, or three digits such as `\\046`"
            }
            _ => "a label has at most 63 bytes, a name 255, its origin included",
        };
        refused(format!("`{word}` is not a name: {error}"), help)
    })
}
