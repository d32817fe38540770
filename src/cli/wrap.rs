//! Breaks lines at words for the window that they are read in. A terminal breaks them anywhere, also within a number.
//!
//! Lines that fit stay as they are. A longer one goes on below the place where its last column begins, where there is room for
//! that; else its columns are drawn together. A command is never broken: the terminal does that, and it can still be
//! copied as one.

/// No window is narrower than this.
const LEAST: usize = 20;

/// The indentation of what goes on below, where no column is in the way.
const INDENT: usize = 4;

/// The blanks between two columns.
const GAP: usize = 2;

/// The fewest columns of a table.
const FEWEST: usize = 3;

/// A word, and the number of blanks that stand before it.
struct Word<'a> {
    blanks: usize,
    text: &'a str,
    width: usize,
}

/// Breaks the lines of a text for a window of this width.
pub(super) fn wrapped(text: &str, columns: usize) -> String {
    if columns < LEAST || text.lines().all(|line| width(line) <= columns) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut paragraph = Vec::new();
    for line in text.split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        paragraph.push((line, end));
        if line.trim().is_empty() {
            flow(&mut out, &paragraph, columns);
            paragraph.clear();
        }
    }
    flow(&mut out, &paragraph, columns);
    out
}

/// Writes the lines between two empty ones: those with columns all alike.
fn flow(out: &mut String, lines: &[(&str, &str)], columns: usize) {
    let split: Vec<Vec<Word<'_>>> = lines.iter().map(|(line, _)| words(line)).collect();
    let is_tight = |(words, (line, _)): (&Vec<Word<'_>>, &(&str, &str))| {
        width(line) > columns && hang(words).is_none_or(|at| at * 10 > columns * 6)
    };
    let draws_together = split.iter().zip(lines).any(is_tight);
    let table = draws_together.then(|| Table::of(&split, columns)).flatten();
    for (words, (line, end)) in split.iter().zip(lines) {
        if let Some(table) = table.as_ref().filter(|table| table.is_row(words)) {
            table.write(out, words);
        } else if draws_together && gaps(words) > 1 {
            fill(out, words, columns, INDENT, true);
        } else if width(line) <= columns {
            out.push_str(line);
        } else {
            let at = hang(words).filter(|at| at * 10 <= columns * 6);
            let is_close = at.is_none();
            fill(out, words, columns, at.unwrap_or(INDENT), is_close);
        }
        out.push_str(end);
    }
}

/// A table whose columns have room when they are drawn together.
struct Table {
    columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Copy)]
struct Column {
    width: usize,
    /// All below its head are numbers, or signs for none.
    is_of_numbers: bool,
}

impl Table {
    /// Finds the rows with most columns, where they have room in a window of this width.
    fn of(lines: &[Vec<Word<'_>>], room: usize) -> Option<Self> {
        let rows = lines.iter().map(|words| cells(words));
        let rows: Vec<_> = rows.filter(|cells| cells.len() >= FEWEST).collect();
        let head = rows.first()?;
        if rows.len() < 2 || rows.iter().any(|row| row.len() != head.len()) {
            return None;
        }
        let columns = (0..head.len()).map(|at| {
            let column = || rows.iter().filter_map(move |row| row.get(at));
            Column {
                width: column().map(|cell| width(cell)).max().unwrap_or(0),
                is_of_numbers: at > 0 && column().skip(1).all(|cell| is_number(cell)),
            }
        });
        let columns: Vec<Column> = columns.collect();
        let all: usize = columns.iter().map(|column| column.width + GAP).sum();
        (all <= room + GAP).then_some(Self { columns })
    }

    fn is_row(&self, words: &[Word<'_>]) -> bool {
        cells(words).len() == self.columns.len()
    }

    fn write(&self, out: &mut String, words: &[Word<'_>]) {
        for (at, (cell, column)) in cells(words).iter().zip(&self.columns).enumerate() {
            let pad = " ".repeat(column.width.saturating_sub(width(cell)));
            if at > 0 {
                out.push_str(&" ".repeat(GAP));
            }
            if column.is_of_numbers {
                out.push_str(&pad);
                out.push_str(cell);
            } else {
                out.push_str(cell);
                if at + 1 < self.columns.len() {
                    out.push_str(&pad);
                }
            }
        }
    }
}

/// Returns the texts between the wide gaps of a line; the indentation belongs to the first.
fn cells(words: &[Word<'_>]) -> Vec<String> {
    let mut cells: Vec<String> = Vec::new();
    for word in words {
        match cells.last_mut() {
            Some(cell) if word.blanks < GAP => {
                cell.push_str(&" ".repeat(word.blanks));
                cell.push_str(word.text);
            }
            Some(_) => cells.push(word.text.to_owned()),
            None => cells.push(" ".repeat(word.blanks.min(INDENT)) + word.text),
        }
    }
    cells
}

fn is_number(cell: &str) -> bool {
    let plain = console::strip_ansi_codes(cell);
    plain == "-" || plain.starts_with(|c: char| c.is_ascii_digit())
}

/// Writes words, line by line.
fn fill(out: &mut String, words: &[Word<'_>], columns: usize, indent: usize, is_close: bool) {
    let mut at = 0;
    for (i, word) in words.iter().enumerate() {
        let blanks = match (i, is_close) {
            (0, true) => word.blanks.min(INDENT),
            (_, true) => word.blanks.min(GAP),
            (_, false) => word.blanks,
        };
        // A long path or command begins further to the left, so that it stays whole.
        let below = columns.saturating_sub(word.width).min(indent);
        if i > 0 && at + blanks + word.width > columns && below < at + blanks {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&" ".repeat(below));
            at = below;
        } else {
            out.push_str(&" ".repeat(blanks));
            at += blanks;
        }
        out.push_str(word.text);
        at += word.width;
    }
}

/// Returns the place at which the last of several columns begins; a little behind the first word's, where there is one only.
fn hang(words: &[Word<'_>]) -> Option<usize> {
    let mut at = 0;
    let mut last = match words.first()?.blanks {
        0 => INDENT,
        few @ 1..8 => few + 2,
        column => column,
    };
    for (i, word) in words.iter().enumerate() {
        at += word.blanks;
        if i > 0 && word.blanks > 1 {
            last = at;
        }
        at += word.width;
    }
    Some(last)
}

/// Counts the gaps between columns; a deep indentation is one.
fn gaps(words: &[Word<'_>]) -> usize {
    let of = |(i, word): (usize, &Word<'_>)| word.blanks > if i == 0 { 7 } else { 1 };
    words.iter().enumerate().filter(|word| of(*word)).count()
}

/// Splits a line at its blanks. The rest of a line from a command on is one word.
fn words(line: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let text = rest.trim_start_matches(' ');
        let blanks = rest.len() - text.len();
        if text.is_empty() {
            return words;
        }
        let end = match text {
            command if command.starts_with("stoker ") => text.len(),
            // One within a sentence ends with its quotation.
            command if command.starts_with("`stoker ") => (command.get(1..))
                .and_then(|inner| inner.find('`'))
                .map_or(text.len(), |end| {
                    let after = text.get(end + 2..).unwrap_or_default();
                    end + 2 + after.find(' ').unwrap_or(after.len())
                }),
            _ => with_unit(text, text.find(' ').unwrap_or(text.len())),
        };
        let (word, after) = text.split_at(end);
        words.push(Word {
            blanks,
            text: word,
            width: width(word),
        });
        rest = after;
    }
}

/// Returns the end of a first word that ends here, with its unit where it is a number.
fn with_unit(text: &str, end: usize) -> usize {
    let (word, after) = text.split_at(end);
    let unit = after.get(1..).unwrap_or_default();
    let unit = unit.split(' ').next().unwrap_or_default();
    let is_number = word.starts_with(|c: char| c.is_ascii_digit());
    if is_number && (1..=3).contains(&unit.trim_end_matches(',').chars().count()) {
        end + 1 + unit.len()
    } else {
        end
    }
}

fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    const SUMMARY: &str = "\
t: all 400 records loaded

Records       [total]                400
Bytes         [sent, received]       47.8 kB, 114.8 kB
              [plan, send, close]    394 ms, 12 ms

Run             runs/t
Report again    stoker report /home/someone/clinic/.stoker/runs/t-20261128T122945Z
";

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(wrapped(SUMMARY, 100), SUMMARY);
        assert_eq!(wrapped(SUMMARY, 5), SUMMARY, "no window is that narrow");
    }

    #[test]
    fn columns_are_drawn_together_where_there_is_no_room_for_them() {
        insta::assert_snapshot!(wrapped(SUMMARY, 40), @r"
        t: all 400 records loaded

        Records  [total]  400
        Bytes  [sent, received]  47.8 kB,
            114.8 kB
            [plan, send, close]  394 ms, 12 ms

        Run             runs/t
        Report again
        stoker report /home/someone/clinic/.stoker/runs/t-20261128T122945Z
        ");
    }

    #[test]
    fn a_table_stays_one_where_its_columns_have_room() {
        let table = "t                           sources      store       same  changed\n  \
                     Patient                       400        400        400        -\n";
        insta::assert_snapshot!(wrapped(table, 60), @r"
        t          sources  store  same  changed
          Patient      400    400   400        -
        ");
        insta::assert_snapshot!(wrapped(table, 30), @r"
        t  sources  store  same
            changed
          Patient  400  400  400  -
        ");
    }

    #[test]
    fn a_line_goes_on_below_its_last_column() {
        let plan = "  store         does not exist yet and will be created\n";
        let expected = "  store         does not exist yet and\n                will be created\n";
        assert_eq!(wrapped(plan, 40), expected);
        let sentence =
            "of what it created, 40 are left and 60 are gone, says the `stoker report RUN`, now";
        let expected = "of what it created, 40 are left and\n    60 are gone, says the\n    `stoker report RUN`, now";
        assert_eq!(wrapped(sentence, 40), expected);
    }

    #[test]
    fn colours_have_no_width_and_no_word_is_lost() {
        let line =
            "\x1b[31mrejected\x1b[0m  because  of  what  the  store  said  of  it  and  of  all";
        for columns in 20..80 {
            let text = wrapped(line, columns);
            let words = |text: &str| -> Vec<String> {
                text.split_whitespace().map(str::to_owned).collect()
            };
            assert_eq!(words(&text), words(line), "{columns}");
            let is_narrow = |line: &str| console::measure_text_width(line) <= columns;
            assert!(text.lines().all(is_narrow), "{columns}: {text}");
        }
    }
}
