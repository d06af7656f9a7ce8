//! The tag filter of a list of API clients: any text is read, and what was read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_server::api::apiclients::filters::tag_filter;

fuzz_target!(|text: &str| {
    let Some(filter) = tag_filter(text) else {
        assert!(text.split(',').count() > 100);
        return;
    };
    let lists = [&filter.all, &filter.none, &filter.any];
    let tags = || lists.iter().copied().flatten();
    assert!(tags().count() <= 100);
    for tag in tags() {
        assert!(!tag.is_empty() && !tag.contains(','));
    }
    assert!(
        filter
            .all
            .iter()
            .all(|tag| !tag.starts_with('-') && !tag.ends_with('^'))
    );
    assert!(filter.any.iter().all(|tag| !tag.starts_with('-')));
    // Blanks inside a sign, as in `- t`, belong to the tag and are not at the end of an item.
    let items: Vec<String> = filter
        .all
        .iter()
        .cloned()
        .chain(filter.none.iter().map(|tag| format!("-{tag}")))
        .chain(filter.any.iter().map(|tag| format!("{tag}^")))
        .collect();
    let again = tag_filter(&items.join(" , "));
    assert_eq!(again.as_ref(), Some(&filter));
});
