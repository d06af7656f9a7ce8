//! Names that clients ask for, made to fit (openport contract sections 3 and 7).

use std::collections::HashSet;

use sea_orm::QuerySelect as _;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};

use crate::registry::entity::device;
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::folded;
use crate::registry::model::AccountId;

/// Longest name, in characters.
const MAX_CHARS: usize = 64;
/// Sorts behind every text that begins with the prefix before it.
const BEHIND_ALL: char = '\u{10FFFF}';

/// `text` as a name: without control characters and blanks at the ends, 64 characters at most; `None` when nothing is
/// left.
pub(super) fn cleaned(text: &str) -> Option<String> {
    let printable: String = text.chars().filter(|c| !c.is_control()).collect();
    let cut: String = printable.trim().chars().take(MAX_CHARS).collect();
    let name = cut.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// `wanted`, or with `-2`, `-3` and so on when another device of the account than `own` has it.
pub(super) async fn free(
    transaction: &DatabaseTransaction,
    account: AccountId,
    wanted: &str,
    own: i64,
) -> Result<String, RegistryError> {
    let wanted = cleaned(wanted).unwrap_or_else(|| format!("key{own}"));
    let stem: String = wanted.chars().take(stem_chars()).collect();
    let begin = folded(&stem);
    let taken: Vec<String> = device::Entity::find()
        .select_only()
        .column(device::Column::NameFolded)
        .filter(device::Column::AccountId.eq(account.0))
        .filter(device::Column::Number.ne(own))
        .filter(device::Column::NameFolded.gte(begin.as_str()))
        .filter(device::Column::NameFolded.lt(format!("{begin}{BEHIND_ALL}")))
        .into_tuple()
        .all(transaction)
        .await
        .attempt("look up names")?;
    Ok(choose(&wanted, &taken.into_iter().collect()))
}

/// What of a long name is left in front of its number.
const fn stem_chars() -> usize {
    const NUMBER_CHARS: usize = 8;
    MAX_CHARS - NUMBER_CHARS
}

fn choose(wanted: &str, taken: &HashSet<String>) -> String {
    if !taken.contains(&folded(wanted)) {
        return wanted.to_owned();
    }
    // One more candidate than there are names: one of them is free.
    let numbers = 2..taken.len() + 3;
    let numbered = |number: usize| {
        let number = format!("-{number}");
        let stem: String = wanted.chars().take(MAX_CHARS - number.len()).collect();
        format!("{}{number}", stem.trim_end())
    };
    numbers
        .map(numbered)
        .find(|name| !taken.contains(&folded(name)))
        .unwrap_or_else(|| wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_gets_a_number() {
        let taken = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(choose("Cam", &taken(&[])), "Cam");
        assert_eq!(choose("Cam", &taken(&["cam"])), "Cam-2");
        assert_eq!(choose("Cam", &taken(&["cam", "cam-2", "cam-4"])), "Cam-3");
        let long = "x".repeat(MAX_CHARS);
        let numbered = choose(&long, &taken(&[&long]));
        assert_eq!(numbered, format!("{}-2", "x".repeat(MAX_CHARS - 2)));
    }

    #[test]
    fn names_are_cut_to_the_rule() {
        assert_eq!(cleaned(" root@pi\n").as_deref(), Some("root@pi"));
        assert_eq!(cleaned("\u{7}  "), None);
        assert_eq!(cleaned(&"ä".repeat(80)).unwrap().chars().count(), MAX_CHARS);
    }
}
