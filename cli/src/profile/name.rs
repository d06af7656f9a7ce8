//! [`ProfileName`].

use std::fmt;
use std::str::FromStr;

/// Name of a profile: also the name of its folder, so it holds nothing that a path or ssh could misread.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProfileName(String);

/// Longest name, so that every file named after it fits the file system.
const MAX_LENGTH: usize = 64;

impl ProfileName {
    /// The name of the first profile.
    pub(crate) fn first() -> Self {
        Self("default".to_owned())
    }

    /// A name made from `text`, with a `-` for what a name may not hold.
    pub(crate) fn from_lossy(text: &str) -> Self {
        let name: String = text
            .chars()
            .map(|c| if is_allowed(c) { c } else { '-' })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            .take(MAX_LENGTH)
            .collect();
        name.parse().unwrap_or_else(|_| Self::first())
    }

    /// The text of the name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl FromStr for ProfileName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() <= MAX_LENGTH
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(is_allowed);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err("a profile name is 1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit")
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        for bad in ["", ".", "..", "a/b", "-a", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad}");
        }
        for good in ["default", "moor.example.com", "a_b-c.1"] {
            assert_eq!(good.parse::<ProfileName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_name_is_made_from_any_host() {
        assert_eq!(ProfileName::from_lossy("[::1]:8080").as_str(), "1--8080");
        assert_eq!(ProfileName::from_lossy("moor.eu").as_str(), "moor.eu");
        assert_eq!(ProfileName::from_lossy("[]").as_str(), "default");
    }
}
