//! The query of a list: page and filters (API client contract sections 2 and 4).

use super::attributes::Problem;
use crate::registry::model::{ApiClientFilter, TagFilter};

/// Items of a page when nothing else is asked for.
const DEFAULT_PAGE_SIZE: u64 = 80;
/// Longest page; more is cut to it.
const MAX_PAGE_SIZE: u64 = 200;
/// Items of a tag filter: each becomes a condition of the statement.
const MAX_TAG_ITEMS: usize = 100;

/// Which part of the list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageWish {
    /// From 1.
    pub(super) number: u64,
    /// 1 to 200.
    pub(super) size: u64,
    /// Items left out at the start of the page.
    pub(super) skip: u64,
}

/// A list as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListWish {
    /// Which part.
    pub(super) page: PageWish,
    /// Which API clients.
    pub(super) filter: ApiClientFilter,
}

/// Parameters of a query: names without regard to case, the last of a name counts.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `query`.
    pub(super) fn parse(query: Option<&str>) -> Self {
        // Whatever the text is, it is pairs of something.
        Self(serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default())
    }

    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().rev();
        named
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl ListWish {
    /// Reads the query of a list; tells everything that is wrong with it.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Vec<Problem>> {
        let parameters = Parameters::parse(query);
        let mut problems = Vec::new();
        let mut number = |name: &'static str, text: Option<&str>, least: u64| {
            let read = text.map(|text| whole(text).filter(|number| *number >= least));
            if read == Some(None) {
                let allowed = match least {
                    0 => "must be a number from 0",
                    _ => "must be a number from 1",
                };
                problems.push(Problem::Parameter(name, allowed));
            }
            read.flatten()
        };
        let page = parameters.get("pageNo").or_else(|| parameters.get("page"));
        let page = PageWish {
            number: number("pageNo", page, 1).unwrap_or(1),
            size: number("pageSize", parameters.get("pageSize"), 1)
                .map_or(DEFAULT_PAGE_SIZE, |size| size.min(MAX_PAGE_SIZE)),
            skip: number("skip", parameters.get("skip"), 0).unwrap_or(0),
        };
        let tags = tag_filter(parameters.get("tags").unwrap_or_default());
        if tags.is_none() {
            problems.push(Problem::Parameter("tags", "may have 100 items at most"));
        }
        match tags {
            Some(tags) if problems.is_empty() => Ok(Self {
                page,
                filter: ApiClientFilter {
                    name: parameters.get("name").map(str::to_owned),
                    friendly_name: parameters.get("friendlyName").map(str::to_owned),
                    tags,
                },
            }),
            _ => Err(problems),
        }
    }

    /// Whether it asks for a text that is nowhere: no database keeps a NUL.
    pub(super) fn is_for_nothing(&self) -> bool {
        let filter = &self.filter;
        let (name, friendly) = (&filter.name, &filter.friendly_name);
        let tags = filter.tags.all.iter().chain(&filter.tags.any);
        let mut texts = name.iter().chain(friendly).chain(tags);
        texts.any(|text| text.contains('\0'))
    }
}

impl PageWish {
    /// How many items come before it, and how many it has at most.
    pub(super) const fn slice(self) -> (u64, u64) {
        let before = (self.number - 1).saturating_mul(self.size);
        let before = before.saturating_add(self.skip);
        (before, self.size.saturating_sub(self.skip))
    }
}

/// Digits only; more than fits is the largest number.
fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Reads a tag filter: items between commas, blanks around them do not count, empty ones are ignored. `t` must be
/// there, `-t` must not, and of all `t^` at least one. `None` when there are more than 100.
#[must_use]
pub fn tag_filter(text: &str) -> Option<TagFilter> {
    let mut filter = TagFilter::default();
    for item in text.split(',') {
        let item = item.trim();
        let (list, tag) = if let Some(tag) = item.strip_prefix('-') {
            (&mut filter.none, tag)
        } else if let Some(tag) = item.strip_suffix('^') {
            (&mut filter.any, tag)
        } else {
            (&mut filter.all, item)
        };
        let excludes_nothing = item.starts_with('-') && tag.contains('\0');
        if !tag.is_empty() && !excludes_nothing && !list.iter().any(|known| known == tag) {
            list.push(tag.to_owned());
        }
    }
    let items = filter.all.len() + filter.none.len() + filter.any.len();
    (items <= MAX_TAG_ITEMS).then_some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_filter_is_read() {
        let filter = tag_filter("factory, line1^, line2^, -test").unwrap();
        assert_eq!(filter.all, ["factory"]);
        assert_eq!(filter.any, ["line1", "line2"]);
        assert_eq!(filter.none, ["test"]);
        for nothing in ["", ",", " , ,", "-", "^", "-,^"] {
            assert_eq!(tag_filter(nothing), Some(TagFilter::default()), "{nothing}");
        }
        let many = (0..101).map(|n| format!("t{n}")).collect::<Vec<_>>();
        assert_eq!(tag_filter(&many.join(",")), None);
        assert!(
            tag_filter(&"t,".repeat(5000)).is_some(),
            "the same one counts once"
        );
    }

    #[test]
    fn pages_have_their_bounds() {
        let page = |query| ListWish::parse(Some(query)).map(|wish| wish.page.slice());
        assert_eq!(page(""), Ok((0, 80)));
        assert_eq!(page("PAGESIZE=10&pageno=3&Skip=4"), Ok((24, 6)));
        assert_eq!(page("page=2&pageSize=999"), Ok((200, 200)));
        assert_eq!(page("pageSize=5&skip=7"), Ok((7, 0)));
        assert_eq!(
            page("pageNo=99999999999999999999&pageSize=2"),
            Ok((u64::MAX, 2))
        );
        for (bad, problems) in [
            ("pageNo=0", 1),
            ("pageSize=x&skip=-1", 2),
            ("page=", 1),
            ("pageSize=1.5", 1),
        ] {
            assert_eq!(page(bad).unwrap_err().len(), problems, "{bad}");
        }
    }
}
