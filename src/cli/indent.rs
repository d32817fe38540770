//! Indents JSON for people without re-making it: every token is printed as it came, so `20.00` stays `20.00`.

/// Indents a well-formed JSON text by two spaces a level; anything else comes out harmless but odd.
pub(super) fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    let mut characters = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(character) = characters.next() {
        if in_string {
            out.push(character);
            (escaped, in_string) = match character {
                _ if escaped => (false, true),
                '\\' => (true, true),
                '"' => (false, false),
                _ => (false, true),
            };
            continue;
        }
        match character {
            '{' | '[' => {
                out.push(character);
                while characters.peek().is_some_and(char::is_ascii_whitespace) {
                    characters.next();
                }
                if let Some(&end @ ('}' | ']')) = characters.peek() {
                    characters.next();
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                in_string = true;
                out.push('"');
            }
            c if c.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::indent;

    #[test]
    fn tokens_survive() {
        let json = r#"{"b":20.00, "a":[1E5,-0, {} ,[ ]],"s":"a, \"b\": {\\"}"#;
        insta::assert_snapshot!(indent(json), @r#"
        {
          "b": 20.00,
          "a": [
            1E5,
            -0,
            {},
            []
          ],
          "s": "a, \"b\": {\\"
        }
        "#);
    }
}
