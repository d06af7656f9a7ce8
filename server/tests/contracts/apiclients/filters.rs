//! Section 4, Filters.

use serde_json::json;

use crate::apiclients::desk::{ALL, code, get, good, make, names, refusal, root};
use crate::bed::Bed;
use crate::http::encode;

async fn found(bed: &Bed, by: &crate::apiclients::desk::Holder, query: &str) -> Vec<String> {
    let page = good(&get(bed, by, &format!("{ALL}?{query}")).await);
    let names = names(&page);
    assert_eq!(
        page["total"],
        names.len(),
        "{query}: total counts after filtering"
    );
    names
}

pub(crate) async fn names_and_friendly_names_select(bed: &Bed) {
    let by = root(bed).await;
    for (name, friendly) in [("one", "Same"), ("Two", "Same"), ("three", "same")] {
        make(bed, &by, json!({"name": name, "friendlyName": friendly})).await;
    }
    for (query, expected) in [
        ("name=ONE", &["one"][..]),
        ("NAME=two", &["Two"]),
        ("name=tw", &[]),
        ("name=%25", &[]),
        ("name=", &[]),
        ("name=%00", &[]),
        ("friendlyName=Same", &["one", "Two"]),
        ("FriendlyName=same", &["three"]),
        ("friendlyname=Sam", &[]),
        ("friendlyName=Same&name=two", &["Two"]),
        ("friendlyName=Same&name=three", &[]),
    ] {
        assert_eq!(found(bed, &by, query).await, expected, "{query}");
    }
}

pub(crate) async fn tags_select(bed: &Bed) {
    let by = root(bed).await;
    for (name, tags) in [
        ("a", json!(["factory", "line1"])),
        ("b", json!(["factory", "line2", "test"])),
        ("c", json!(["factory", "line2"])),
        ("d", json!(["factory", "line3"])),
        ("e", json!(["line1", "Factory"])),
        ("f", json!([])),
    ] {
        make(
            bed,
            &by,
            json!({"name": name, "tags": tags, "friendlyName": "tagged"}),
        )
        .await;
    }
    make(bed, &by, json!({"name": "g", "friendlyName": "tagged"})).await;
    for (tags, expected) in [
        ("factory, line1^, line2^, -test", "ac"),
        ("factory", "abcd"),
        ("Factory", "e"),
        ("-factory", "efg"),
        ("line1^,line3^", "ade"),
        ("line1^", "ae"),
        ("factory,line2", "bc"),
        ("-test,-line1", "cdfg"),
        ("factor", ""),
        ("", "abcdefg"),
        (" , ,,", "abcdefg"),
        ("-,^", "abcdefg"),
        ("  factory  ,  -line1  ", "bcd"),
        ("nothing^", ""),
        ("factory,-factory", ""),
    ] {
        let query = format!("friendlyName=tagged&tags={}", encode(tags));
        assert_eq!(found(bed, &by, &query).await.concat(), expected, "{tags}");
    }
    let many: Vec<String> = (0..101).map(|number| format!("-t{number}")).collect();
    let reply = get(bed, &by, &format!("{ALL}?tags={}", many.join(","))).await;
    assert_eq!(code(&reply), refusal(400, "InvalidParameter"));
    let query = format!("friendlyName=tagged&tags={}", many[1..].join(","));
    assert_eq!(
        found(bed, &by, &query).await.len(),
        7,
        "a hundred are taken"
    );
}

pub(crate) async fn odd_tags_select_themselves_alone(bed: &Bed) {
    let by = root(bed).await;
    let odd = [
        "x", "a\"x", "x\"", "\\x", "x\\", "[x", "]x", "ü", "x y", "X", "%", "_", "x%", "'", "\"",
        "a-", "b^c",
    ];
    for (number, tag) in odd.iter().enumerate() {
        make(
            bed,
            &by,
            json!({"name": format!("t{number}"), "tags": ["first", tag]}),
        )
        .await;
        make(
            bed,
            &by,
            json!({"name": format!("u{number}"), "tags": [tag, "last"]}),
        )
        .await;
    }
    for (number, tag) in odd.iter().enumerate() {
        let names = found(bed, &by, &format!("tags={}", encode(tag))).await;
        assert_eq!(names, [format!("t{number}"), format!("u{number}")], "{tag}");
    }
}
