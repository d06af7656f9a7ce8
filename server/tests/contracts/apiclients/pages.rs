//! Section 2, Pages.

use serde_json::{Value, json};

use crate::apiclients::desk::{ALL, get, good, make, names, problems, root};
use crate::bed::Bed;

pub(crate) async fn pages_cut_the_list(bed: &Bed) {
    let by = root(bed).await;
    for number in 1..=203 {
        make(
            bed,
            &by,
            json!({"name": format!("c{number:03}"), "friendlyName": "listed", "scope": []}),
        )
        .await;
    }
    let page = async |query: &str| {
        good(&get(bed, &by, &format!("{ALL}?friendlyName=listed&{query}")).await)
    };
    let facts = |page: &Value| {
        let fact = |name: &str| page[name].as_u64().unwrap();
        let facts = ["total", "itemCount", "numOfPages", "pageNo", "skip"].map(fact);
        let names = names(page);
        assert_eq!(facts[1], names.len() as u64);
        let ends = names.first().zip(names.last());
        (
            facts,
            ends.map(|(first, last)| format!("{first} {last}"))
                .unwrap_or_default(),
        )
    };
    for (query, expected, ends) in [
        ("", [203, 80, 3, 1, 0], "c001 c080"),
        ("pageNo=3", [203, 43, 3, 3, 0], "c161 c203"),
        ("page=2", [203, 80, 3, 2, 0], "c081 c160"),
        ("Page=2&PageSize=10", [203, 10, 21, 2, 0], "c011 c020"),
        ("pageSize=200", [203, 200, 2, 1, 0], "c001 c200"),
        ("pageSize=500&pageNo=2", [203, 3, 2, 2, 0], "c201 c203"),
        ("pageSize=203", [203, 200, 2, 1, 0], "c001 c200"),
        (
            "pageSize=10&pageNo=2&skip=4",
            [203, 6, 21, 2, 4],
            "c015 c020",
        ),
        ("pageSize=10&skip=10", [203, 0, 21, 1, 10], ""),
        ("pageNo=4", [203, 0, 3, 4, 0], ""),
        (
            "pageNo=99999999999999999",
            [203, 0, 3, 99_999_999_999_999_999, 0],
            "",
        ),
        ("pageSize=1&pageNo=203", [203, 1, 203, 203, 0], "c203 c203"),
        ("pageSize=7&pageNo=29", [203, 7, 29, 29, 0], "c197 c203"),
        ("pageSize=10&name=c001", [1, 1, 1, 1, 0], "c001 c001"),
        ("name=nobody", [0, 0, 0, 1, 0], ""),
    ] {
        assert_eq!(
            facts(&page(query).await),
            (expected, ends.to_owned()),
            "{query}"
        );
    }
}

pub(crate) async fn bad_numbers_are_told(bed: &Bed) {
    let by = root(bed).await;
    for (query, names) in [
        ("pageNo=0", &["pageNo"][..]),
        ("page=0", &["pageNo"]),
        ("pageSize=0", &["pageSize"]),
        ("pageSize=-1&skip=-1", &["pageSize", "skip"]),
        (
            "pageNo=x&pageSize=1.5&skip=",
            &["pageNo", "pageSize", "skip"],
        ),
    ] {
        let (status, found) = problems(&get(bed, &by, &format!("{ALL}?{query}")).await);
        assert_eq!((status, found.len()), (400, names.len()), "{query}");
        for ((code, message), name) in found.iter().zip(names) {
            assert_eq!(code, "InvalidParameter");
            assert!(
                message.starts_with(&format!("Parameter {name} must be a number")),
                "{message}"
            );
        }
    }
    good(&get(bed, &by, &format!("{ALL}?skip=0&unknown=x&pageSize=007")).await);
}
