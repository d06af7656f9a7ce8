//! [`Table`]: rows that fit the terminal.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, presets};

use super::printable;

/// How much a cell should stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Not at all.
    Plain,
    /// All is well.
    Good,
    /// Look here.
    Bad,
    /// Of little interest.
    Dim,
}

/// What becomes of cells that are wider than their column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// They go on in the next line.
    Wrap,
    /// They end in `…`, so that a row stays a line.
    Cut,
}

/// Stands in no cell: [`printable`] has taken it out.
const NOWHERE: char = '\0';

/// A table without borders.
pub(crate) struct Table {
    inner: comfy_table::Table,
    overflow: Overflow,
}

impl Table {
    /// An empty table with `columns`.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = Self::bare();
        let header = columns
            .iter()
            .map(|column| Cell::new(column).add_attribute(Attribute::Bold));
        table.inner.set_header(header);
        table
    }

    /// A table of names and values, without a header.
    pub(crate) fn bare() -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_preset(presets::NOTHING);
        inner.set_truncation_indicator("…");
        Self {
            inner,
            overflow: Overflow::Wrap,
        }
    }

    /// The same table with one line a row: for long lists, where `show` has the rest.
    pub(crate) fn cut(mut self) -> Self {
        self.overflow = Overflow::Cut;
        // Cut where the column ends, not before a long word.
        self.inner.set_delimiter(NOWHERE);
        if let Some(mut header) = self.inner.header().cloned() {
            header.max_height(1);
            self.inner.set_header(header);
        }
        self
    }

    /// Adds a row.
    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, Mark)>) {
        let cells = cells.into_iter().map(|(text, mark)| {
            let cell = Cell::new(printable(text));
            match mark {
                Mark::Plain => cell,
                Mark::Good => cell.fg(Color::Green),
                Mark::Bad => cell.fg(Color::Red),
                Mark::Dim => cell.add_attribute(Attribute::Dim),
            }
        });
        let mut row = comfy_table::Row::from(cells.collect::<Vec<_>>());
        if self.overflow == Overflow::Cut {
            row.max_height(1);
        }
        self.inner.add_row(row);
    }

    /// Adds a name and its value, unless the value is empty.
    pub(crate) fn pair(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.row([(name, Mark::Dim), (value, Mark::Plain)]);
        }
    }

    /// The text of the table: fitted to the terminal if it goes to one, with colours if wanted.
    pub(super) fn render(self, terminal: bool, colour: bool) -> String {
        let width = if terminal { self.inner.width() } else { None };
        self.fitted(width, colour)
    }

    fn fitted(mut self, width: Option<u16>, colour: bool) -> String {
        self.inner.force_no_tty();
        if let Some(width) = width {
            self.inner
                .set_width(width)
                .set_content_arrangement(ContentArrangement::Dynamic);
        }
        if colour {
            self.inner.enforce_styling();
        }
        for column in self.inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // Names are what the next command is given: they are never broken.
        if let Some(names) = self.inner.column_mut(0) {
            names.set_constraint(ColumnConstraint::ContentWidth);
        }
        let mut text = self.inner.trim_fmt();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_a_terminal_a_row_is_one_line_without_colours() {
        let mut table = Table::new(&["NAME", "SEEN"]);
        let long = "x".repeat(300);
        table.row([("cam-1", Mark::Good), (&long, Mark::Dim)]);
        let text = table.render(false, false);
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("NAME   SEEN\n"), "{text:?}");
        assert!(text.contains(&format!("cam-1  {long}\n")));
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_list_stays_one_line_a_row_with_whole_names() {
        let mut table = Table::new(&["NAME", "HOSTNAME"]).cut();
        let long = "a-rather-long-hostname.example.com";
        table.row([("cam000000000001", Mark::Plain), (long, Mark::Plain)]);
        let text = table.fitted(Some(30), false);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("cam000000000001"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 30),
            "{text}"
        );
        assert!(text.contains('…'), "{text}");
    }

    #[test]
    fn a_cell_is_cut_where_its_column_ends_and_a_header_stays_one_line() {
        let mut table = Table::new(&["NAME", "A LONG HEADER"]).cut();
        let long = "seen 0f8fad5b-d9cb-469f-a165-70867728950e";
        table.row([("cam-1", Mark::Plain), (long, Mark::Plain)]);
        let text = table.fitted(Some(20), false);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("seen 0f8f"), "{text}");
    }

    #[test]
    fn colours_come_when_asked_for() {
        let mut table = Table::bare();
        table.row([("blocked", Mark::Bad)]);
        assert!(table.render(false, true).contains('\x1b'));
    }
}
