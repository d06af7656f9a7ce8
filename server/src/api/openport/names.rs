//! Names that keys may have (openport contract section 3): any printable text, unlike the names of the provisioning
//! calls.

/// Most characters of a name.
pub(super) const MAX_CHARS: usize = 64;

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongName {
    /// More than [`MAX_CHARS`].
    TooLong,
    /// Empty, a blank at an end, or a character that cannot be seen.
    NotPrintable,
}

/// Checks a name.
///
/// # Errors
/// [`WrongName`].
pub(super) fn check(name: &str) -> Result<(), WrongName> {
    if name.chars().count() > MAX_CHARS {
        return Err(WrongName::TooLong);
    }
    let seen = |c: char| c == ' ' || is_printable(c);
    if name.is_empty() || name.trim() != name || !name.chars().all(seen) {
        return Err(WrongName::NotPrintable);
    }
    Ok(())
}

/// Neither blank nor control, nor a character that changes how its neighbours are shown.
fn is_printable(c: char) -> bool {
    let unseen = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}');
    !c.is_control() && !c.is_whitespace() && !unseen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_text_of_64_characters() {
        let longest = "ä".repeat(64);
        for good in ["a", "Küche 2", "pi@home (old)", "'\"$x`", longest.as_str()] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(&"a".repeat(65)), Err(WrongName::TooLong));
        for bad in [
            "",
            " a",
            "a ",
            "a\tb",
            "a\nb",
            "\0",
            "a\u{202e}b",
            "a\u{a0}b",
        ] {
            assert_eq!(check(bad), Err(WrongName::NotPrintable), "{bad:?}");
        }
    }
}
