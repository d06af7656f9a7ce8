use std::collections::BTreeMap;

/// Which way a figure is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// One measurement of all paths.
pub(crate) struct Table {
    title: &'static str,
    better: Better,
}

impl Table {
    pub(crate) const fn new(title: &'static str, better: Better) -> Self {
        Self { title, better }
    }

    /// Prints a line for each of `names` that has figures.
    pub(crate) fn print(&self, names: &[&str], figures: &BTreeMap<&str, Vec<f64>>) {
        let ours = figures.get("moorline").map(|figures| spread(figures)[1]);
        let direction = if self.better == Better::More {
            "more is better"
        } else {
            "less is better"
        };
        println!("\n{} ({direction})", self.title);
        println!(
            "  {:<14}{:>12}{:>12}{:>12}{:>10}",
            "", "min", "median", "max", "ratio"
        );
        for name in names {
            let Some(figures) = figures.get(name) else {
                continue;
            };
            let [min, median, max] = spread(figures);
            let ratio = ours.map_or(String::new(), |ours| format!("{:.2}", median / ours));
            println!("  {name:<14}{min:>12.1}{median:>12.1}{max:>12.1}{ratio:>10}");
        }
    }
}

fn spread(figures: &[f64]) -> [f64; 3] {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    [
        sorted[0],
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1],
    ]
}
