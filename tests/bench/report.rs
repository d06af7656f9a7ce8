//! The figures as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::measures::{Better, Metric};
use crate::peers::{NAMES, OURS};

/// Width of a column of figures.
const COLUMN: usize = 11;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    runs: BTreeMap<(Metric, usize), Vec<f64>>,
    conditions: Vec<String>,
    notes: Vec<String>,
}

/// Smallest, middle and largest of some runs.
#[derive(Clone, Copy, Debug)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Report {
    /// Adds one figure of a peer.
    pub(crate) fn add(&mut self, metric: Metric, peer: &str, value: f64) {
        let place = NAMES.iter().position(|name| *name == peer);
        let place = place.unwrap_or(NAMES.len());
        self.runs.entry((metric, place)).or_default().push(value);
    }

    /// Adds a line about the machine and the run.
    pub(crate) fn condition(&mut self, line: String) {
        self.conditions.push(line);
    }

    /// Adds a line to the foot, once.
    pub(crate) fn note(&mut self, line: String) {
        if !self.notes.contains(&line) {
            self.notes.push(line);
        }
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for line in &self.conditions {
            push(&mut text, format_args!("{line}\n"));
        }
        push(
            &mut text,
            format_args!(
                "\n{:<20}{:>COLUMN$}{:>COLUMN$}{:>COLUMN$}{:>6}{:>COLUMN$}\n",
                "", "min", "median", "max", "runs", "moorline"
            ),
        );
        for metric in self.metrics() {
            let (title, unit, better) = metric.describe();
            let direction = match better {
                Better::More => "more is better",
                Better::Less => "less is better",
            };
            push(&mut text, format_args!("{title} ({unit}, {direction})\n"));
            for (name, runs) in self.peers(metric) {
                let spread = Spread::of(runs);
                push(
                    &mut text,
                    format_args!(
                        "  {name:<18}{:>COLUMN$}{:>COLUMN$}{:>COLUMN$}{:>6}{:>COLUMN$}\n",
                        figure(spread.min),
                        figure(spread.median),
                        figure(spread.max),
                        runs.len(),
                        self.ahead(metric, name)
                            .map_or_else(String::new, |ahead| format!("{ahead:.2}x"))
                    ),
                );
            }
        }
        push(
            &mut text,
            format_args!(
                "\nmoorline: how many times as good as that peer Moorline is, by the medians\n"
            ),
        );
        for line in &self.notes {
            push(&mut text, format_args!("{line}\n"));
        }
        text
    }

    /// The same figures, every run apart.
    pub(crate) fn json(&self) -> Value {
        let metrics: Vec<Value> = self
            .metrics()
            .into_iter()
            .map(|metric| {
                let (title, unit, better) = metric.describe();
                let peers: Vec<Value> = self
                    .peers(metric)
                    .map(|(name, runs)| {
                        let spread = Spread::of(runs);
                        json!({
                            "peer": name, "runs": runs, "min": spread.min, "median": spread.median,
                            "max": spread.max, "moorline_is_times_as_good": self.ahead(metric, name),
                        })
                    })
                    .collect();
                let better = if better == Better::More { "more" } else { "less" };
                json!({"metric": format!("{metric:?}"), "title": title, "unit": unit, "better": better, "peers": peers})
            })
            .collect();
        json!({"conditions": self.conditions, "notes": self.notes, "metrics": metrics})
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> = self.runs.keys().map(|(metric, _)| *metric).collect();
        metrics.dedup();
        metrics
    }

    fn peers(&self, metric: Metric) -> impl Iterator<Item = (&'static str, &[f64])> {
        NAMES.iter().enumerate().filter_map(move |(place, name)| {
            let runs = self.runs.get(&(metric, place))?;
            Some((*name, runs.as_slice()))
        })
    }

    /// How many times as good as that peer Moorline is; `None` without both figures, and for itself.
    fn ahead(&self, metric: Metric, peer: &str) -> Option<f64> {
        let median = |wanted: &str| {
            let (_, runs) = self.peers(metric).find(|(name, _)| *name == wanted)?;
            Some(Spread::of(runs).median)
        };
        if peer == OURS {
            return None;
        }
        let (ours, theirs) = (median(OURS)?, median(peer)?);
        let (_, _, better) = metric.describe();
        Some(match better {
            Better::More => ours / theirs,
            Better::Less => theirs / ours,
        })
    }
}

impl Spread {
    fn of(runs: &[f64]) -> Self {
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self {
            min: at(0),
            median,
            max: at(sorted.len().saturating_sub(1)),
        }
    }
}

/// Three digits that count, thousands apart.
fn figure(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    text.write_fmt(line).unwrap_or_default();
}
