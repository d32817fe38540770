//! The terminal below the bars, where windows change their size.
//!
//! indicatif counts the rows of what it drew for the width that the window had then. A terminal breaks lines anew when its
//! window becomes narrower, so that they take more rows, and half lines would be left above the bars. Here each frame is
//! kept as the lines that were written, and is taken away by the rows that they take now. Lines are not filled with blanks,
//! which would be broken like any other text, and go out in one write each frame. The cursor waits on an empty line below
//! them: within a line that is broken, terminals do not agree on where it goes.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use indicatif::TermLike;

/// The paper that a screen is drawn on.
pub(super) trait Paper: fmt::Debug + Send + Sync {
    /// Returns rows and columns.
    fn size(&self) -> (u16, u16);
    /// Writes all of a text.
    fn write(&self, text: &str) -> io::Result<()>;
}

/// Standard error.
#[derive(Debug)]
pub(super) struct Stderr;

impl Paper for Stderr {
    fn size(&self) -> (u16, u16) {
        console::Term::stderr().size()
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stderr().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// A terminal whose width may change between two frames. All clones are one.
#[derive(Debug)]
pub(super) struct Screen<P> {
    paper: Arc<P>,
    frame: Arc<Mutex<Frame>>,
}

impl<P> Clone for Screen<P> {
    fn clone(&self) -> Self {
        Self {
            paper: Arc::clone(&self.paper),
            frame: Arc::clone(&self.frame),
        }
    }
}

#[derive(Debug)]
struct Frame {
    /// The number of columns of each line that is on the terminal.
    shown: Vec<usize>,
    /// The lines of the next frame; the last is the one that is being written.
    next: Vec<String>,
    /// The width for which the next frame is made.
    width: usize,
    /// The lines on the terminal stay there.
    is_left: bool,
}

impl<P: Paper> Screen<P> {
    pub(super) fn new(paper: P) -> Self {
        let frame = Frame {
            shown: Vec::new(),
            next: Vec::new(),
            width: 0,
            is_left: false,
        };
        Self {
            paper: Arc::new(paper),
            frame: Arc::new(Mutex::new(frame)),
        }
    }

    /// Leaves what is shown where it is; what others write comes below. Nothing more is drawn.
    pub(super) fn leave(&self) {
        self.frame().is_left = true;
    }

    /// Returns how many columns there are now.
    pub(super) fn columns(&self) -> u16 {
        self.paper.size().1
    }

    fn frame(&self) -> MutexGuard<'_, Frame> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of rows that lines take in a window of this width.
fn rows(lines: &[usize], width: usize) -> usize {
    let width = std::cmp::max(width, 1);
    lines
        .iter()
        .map(|line| std::cmp::max(line.div_ceil(width), 1))
        .sum()
}

impl<P: Paper> TermLike for Screen<P> {
    fn width(&self) -> u16 {
        let width = self.paper.size().1;
        self.frame().width = width.into();
        width
    }

    fn height(&self) -> u16 {
        // One row is the cursor's.
        self.paper.size().0.saturating_sub(1)
    }

    // The movement of the cursor follows from what is on the terminal.
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    /// indicatif writes a line, then the blanks that fill it to the edge, then the next.
    fn write_str(&self, text: &str) -> io::Result<()> {
        let text = text.trim_end_matches([' ', '\r', '\n']);
        if !text.is_empty() {
            self.frame().next.push(text.to_owned());
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let now = usize::from(self.paper.size().1);
        let mut frame = self.frame();
        let next = std::mem::take(&mut frame.next);
        if frame.is_left {
            return Ok(());
        }
        let mut out = String::new();
        if !frame.shown.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\r\x1b[{}A\x1b[J", rows(&frame.shown, now));
        }
        // Lines that were made for a wider window wait for the next frame.
        let next = if frame.width > now { Vec::new() } else { next };
        for line in &next {
            out.push_str(line);
            out.push_str("\r\n");
        }
        frame.shown = next
            .iter()
            .map(|line| console::measure_text_width(line))
            .collect();
        if out.is_empty() {
            return Ok(());
        }
        self.paper.write(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window that breaks lines anew when it becomes narrower, and keeps the cursor at its character.
    #[derive(Debug)]
    struct Window(Mutex<State>);

    #[derive(Debug)]
    struct State {
        width: usize,
        /// Lines as they were ended, and the place of the cursor: line and column.
        lines: Vec<String>,
        at: (usize, usize),
    }

    impl Window {
        /// Goes up by rows of the window.
        fn up(state: &mut State, rows: usize) {
            for _ in 0..rows {
                if state.at.1 >= state.width {
                    state.at.1 -= state.width;
                } else {
                    state.at.0 -= 1;
                    let above = state.lines[state.at.0].chars().count();
                    state.at.1 += above.saturating_sub(1) / state.width * state.width;
                }
            }
        }
    }

    impl Paper for Window {
        fn size(&self) -> (u16, u16) {
            (24, u16::try_from(self.0.lock().unwrap().width).unwrap())
        }

        fn write(&self, text: &str) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            let mut rest = text;
            while let Some(c) = rest.chars().next() {
                rest = &rest[c.len_utf8()..];
                let (line, column) = state.at;
                match c {
                    '\r' => state.at.1 = column / state.width * state.width,
                    '\n' => {
                        state.at = (line + 1, 0);
                        if state.lines.len() <= line + 1 {
                            state.lines.push(String::new());
                        }
                    }
                    '\x1b' => {
                        let end = rest.find(char::is_alphabetic).unwrap();
                        let (sequence, after) = rest.split_at(end + 1);
                        rest = after;
                        match sequence {
                            "[J" => {
                                state.lines.truncate(line + 1);
                                state.lines[line].truncate(column);
                            }
                            up => {
                                let rows = up[1..up.len() - 1].parse().unwrap();
                                Self::up(&mut state, rows);
                            }
                        }
                    }
                    c => {
                        assert_eq!(state.lines[line].chars().count(), column);
                        state.lines[line].push(c);
                        state.at.1 += 1;
                    }
                }
            }
            Ok(())
        }
    }

    fn draw(screen: &Screen<Window>, lines: &[&str]) {
        let width = usize::from(screen.width());
        for line in lines {
            let line: String = line.chars().take(width).collect();
            screen.write_str(&line).unwrap();
            screen.write_str(&" ".repeat(width - line.len())).unwrap();
        }
        screen.flush().unwrap();
    }

    #[test]
    fn no_half_lines_are_left_when_a_window_becomes_narrower() {
        let state = State {
            width: 80,
            lines: vec!["$ stoker load".to_owned(), String::new()],
            at: (1, 0),
        };
        let screen = Screen::new(Window(Mutex::new(state)));
        let lines = ["a".repeat(80), "b".repeat(57), "c".repeat(79)];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for width in [80, 50, 24, 80, 33] {
            screen.paper.0.lock().unwrap().width = width;
            draw(&screen, &lines);
            draw(&screen, &lines);
            let state = screen.paper.0.lock().unwrap();
            let cut = lines.iter().map(|line| &line[..line.len().min(width)]);
            let above = std::iter::once("$ stoker load");
            let expected: Vec<&str> = above.chain(cut).chain([""]).collect();
            assert_eq!(state.lines, expected, "{width}");
        }
        screen.leave();
        draw(&screen, &["never shown"]);
        assert_eq!(screen.paper.0.lock().unwrap().at, (4, 0));
        assert_eq!(screen.paper.0.lock().unwrap().lines.len(), 5);
    }
}
