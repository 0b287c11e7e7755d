//! Words, braces and semicolons of nginx's language, each with its place.

use std::iter::Peekable;
use std::str::Chars;

/// A line and a column in characters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// What is wrong with a text, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) spot: Spot,
    pub(super) what: String,
    pub(super) help: &'static str,
}

/// One piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Cuts a text into tokens by nginx's rules: quotes and comments count only where a word begins.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    spot: Spot,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            chars: text.chars().peekable(),
            spot: Spot { line: 1, column: 1 },
        }
    }

    /// Returns the next token and where it begins; `None` at the end.
    ///
    /// # Errors
    /// A quote that is never closed, or text right behind one.
    pub(super) fn next(&mut self) -> Result<Option<(Token, Spot)>, Wrong> {
        self.skip_blank();
        let spot = self.spot;
        let Some(&c) = self.chars.peek() else {
            return Ok(None);
        };
        let token = match c {
            ';' => self.single(Token::End),
            '{' => self.single(Token::Open),
            '}' => self.single(Token::Close),
            '"' | '\'' => Token::Word(self.quoted(c)?),
            _ => Token::Word(self.bare()),
        };
        Ok(Some((token, spot)))
    }

    /// Passes over a block of another language up to the brace that closes it.
    ///
    /// # Errors
    /// It is never closed.
    pub(super) fn skip_block(&mut self, opened: Spot) -> Result<(), Wrong> {
        let mut depth = 1_usize;
        while let Some(c) = self.bump() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err(unclosed(opened))
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.spot.line += 1;
            self.spot.column = 1;
        } else {
            self.spot.column += 1;
        }
        Some(c)
    }

    fn single(&mut self, token: Token) -> Token {
        self.bump();
        token
    }

    fn skip_blank(&mut self) {
        while let Some(&c) = self.chars.peek() {
            if c == '#' {
                while self.chars.peek().is_some_and(|&c| c != '\n') {
                    self.bump();
                }
            } else if c.is_ascii_whitespace() {
                self.bump();
            } else {
                return;
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        let opened = self.spot;
        self.bump();
        let mut word = String::new();
        loop {
            match self.bump() {
                Some(c) if c == quote => break,
                Some('\\') => self.escaped(&mut word),
                Some(c) => word.push(c),
                None => {
                    return Err(Wrong {
                        spot: opened,
                        what: format!("this {quote} is never closed"),
                        help: "write the same quote at the end of the text",
                    });
                }
            }
        }
        match self.chars.peek() {
            Some(&c) if !c.is_ascii_whitespace() && !matches!(c, ';' | '{' | ')') => Err(Wrong {
                spot: self.spot,
                what: format!("`{}` right behind a closing quote", c.escape_debug()),
                help: "write a blank or `;` between them, or put all of it in quotes",
            }),
            Some(_) | None => Ok(word),
        }
    }

    fn bare(&mut self) -> String {
        let mut word = String::new();
        let mut dollar = false;
        while let Some(&c) = self.chars.peek() {
            if c.is_ascii_whitespace() || c == ';' || (c == '{' && !dollar) {
                break;
            }
            self.bump();
            if c == '\\' {
                self.escaped(&mut word);
            } else {
                word.push(c);
            }
            dollar = c == '$';
        }
        word
    }

    /// A backslash stands before quotes, itself and three letters; before anything else it stays.
    fn escaped(&mut self, word: &mut String) {
        match self.chars.peek().copied() {
            Some(c @ ('"' | '\'' | '\\')) => word.push(c),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(c) => word.extend(['\\', c]),
            None => word.push('\\'),
        }
        self.bump();
    }
}

/// Says that a block has no end.
pub(super) fn unclosed(spot: Spot) -> Wrong {
    Wrong {
        spot,
        what: "this `{` is never closed".to_owned(),
        help: "write `}` at the end of the block",
    }
}
