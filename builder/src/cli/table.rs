//! Tables of text for people.

/// A table whose first column is aligned to the left, and the others to the right where they are not text.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    is_text: bool,
}

impl Table {
    /// A table with a head.
    pub(super) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()], is_text: false }
    }

    /// A table of text, with all columns aligned to the left.
    pub(super) fn of_text(head: &[&str]) -> Self {
        Self { is_text: true, ..Self::new(head) }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let length = |cell: &String| cell.chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or(0))
            .collect();
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> =
                row.iter()
                    .zip(&widths)
                    .enumerate()
                    .map(|(column, (cell, &width))| {
                        if column == 0 || self.is_text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                    })
                    .collect();
            let line = cells.join("  ");
            write!(f, "{}{}", if index > 0 { "\n" } else { "" }, line.trim_end())?;
        }
        Ok(())
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", "params"]);
        table.row(["resnet20".into(), grouped(269_722u64)]);
        table.row(["a".into(), grouped(7u64)]);
        assert_eq!(table.to_string(), "name       params\nresnet20  269,722\na               7");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0u64, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
