//! Names for API clients that were given none (API client contract section 4, Create).

use sea_orm::sea_query::LockType;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _};
use sea_orm::{QueryFilter as _, QuerySelect as _};

use crate::random;
use crate::registry::entity::{account, api_client};
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::folded;
use crate::registry::model::AccountId;

/// Longest name, in characters.
const MAX_NAME: usize = 64;
/// Numbered names looked up at once.
const BATCH: usize = 100;
/// Highest number behind a name; past it the name is made by chance.
const MAX_NUMBER: usize = 10_000;

/// A name that is free now: made of `friendly`, or by chance.
pub(super) async fn made_up(
    transaction: &DatabaseTransaction,
    account: AccountId,
    friendly: Option<&str>,
) -> Result<String, RegistryError> {
    let Some(friendly) = friendly else {
        return Ok(random::api_client_name());
    };
    one_at_a_time(transaction, account).await?;
    let stem = stem(friendly);
    let mut next = 1;
    while next <= MAX_NUMBER {
        let candidates: Vec<String> = (next..next + BATCH)
            .map(|number| numbered(&stem, number))
            .collect();
        let taken = taken(transaction, account, &candidates).await?;
        if let Some(free) = candidates.into_iter().find(|name| !taken.contains(name)) {
            return Ok(free);
        }
        next += BATCH;
    }
    Ok(random::api_client_name())
}

/// Keeps others of the account from choosing at the same time, which would be the same name. Does not hold up what
/// only refers to the account.
async fn one_at_a_time(
    transaction: &DatabaseTransaction,
    account: AccountId,
) -> Result<(), RegistryError> {
    account::Entity::find_by_id(account.0)
        .lock(LockType::NoKeyUpdate)
        .one(transaction)
        .await
        .attempt("lock account")?;
    Ok(())
}

async fn taken(
    transaction: &DatabaseTransaction,
    account: AccountId,
    names: &[String],
) -> Result<Vec<String>, RegistryError> {
    api_client::Entity::find()
        .select_only()
        .column(api_client::Column::NameFolded)
        .filter(api_client::Column::AccountId.eq(account.0))
        .filter(api_client::Column::NameFolded.is_in(names.iter().map(|name| folded(name))))
        .into_tuple()
        .all(transaction)
        .await
        .attempt("look up names of API clients")
}

/// Lower case, every run of other characters one `_`, none at the ends, a letter first, 64 characters at most.
fn stem(friendly: &str) -> String {
    let mut name = String::new();
    let mut in_run = false;
    for c in friendly.to_lowercase().chars() {
        let other = !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !other {
            name.push(c);
        } else if !in_run {
            name.push('_');
        }
        in_run = other;
    }
    let name = name.trim_matches('_');
    let name = if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.to_owned()
    } else {
        format!("c_{name}")
    };
    name.chars().take(MAX_NAME).collect()
}

/// The first has no number, the second ends in `_2`; the whole stays within 64 characters.
fn numbered(stem: &str, number: usize) -> String {
    if number <= 1 {
        return stem.to_owned();
    }
    let number = format!("_{number}");
    let room = MAX_NAME.saturating_sub(number.len());
    let stem: String = stem.chars().take(room).collect();
    stem + &number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friendly_names_become_names() {
        for (friendly, name) in [
            ("Camera line 3", "camera_line_3"),
            ("  Camera -- line  ", "camera_--_line"),
            ("3rd line", "c_3rd_line"),
            ("Kühe & Kälber", "k_he_k_lber"),
            ("日本", "c_"),
            ("a.b-c_d", "a.b-c_d"),
            ("_x_", "x"),
        ] {
            assert_eq!(stem(friendly), name, "{friendly}");
        }
        assert_eq!(stem(&"x".repeat(128)).len(), MAX_NAME);
    }

    #[test]
    fn numbers_fit_into_the_name() {
        assert_eq!(numbered("cam", 1), "cam");
        assert_eq!(numbered("cam", 2), "cam_2");
        let long = numbered(&"x".repeat(MAX_NAME), 10_000);
        assert!(long.len() == MAX_NAME && long.ends_with("x_10000"));
    }
}
