//! Directives with their blocks.

use std::path::Path;
use std::sync::Arc;

use super::lex::{Lexer, Spot, Token, Wrong, unclosed};
use crate::config::Problem;

/// Most blocks within blocks.
const DEPTH_MAX: usize = 32;
/// Longest text of a directive in a list, in characters.
const SHOWN_MAX: usize = 80;

/// One directive.
#[derive(Clone, Debug)]
pub(crate) struct Directive {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) block: Option<Vec<Self>>,
    pub(super) file: Arc<Path>,
    pub(super) spot: Spot,
    /// Its place among all that were read.
    pub(super) id: usize,
}

impl Directive {
    /// The argument at a place; empty where there is none.
    pub(super) fn arg(&self, at: usize) -> &str {
        self.args.get(at).map_or("", String::as_str)
    }

    /// What its block holds.
    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Tells whether its block holds a directive, however deep.
    pub(super) fn holds(&self, id: usize) -> bool {
        let mut within = self.children().iter();
        within.any(|inner| inner.id == id || inner.holds(id))
    }

    /// `file:line`, on one line whatever the file is called.
    pub(super) fn place(&self) -> String {
        let file = self.file.display().to_string();
        format!("{}:{}", file.escape_debug(), self.spot.line)
    }

    /// How a list shows it, so that a terminal takes no orders from it.
    pub(super) fn text(&self) -> String {
        let words = std::iter::once(&self.name).chain(&self.args);
        let words: Vec<String> = words.map(|word| shown(word)).collect();
        let mut text = words.join(" ");
        if text.chars().count() > SHOWN_MAX {
            text = text
                .chars()
                .take(SHOWN_MAX - 3)
                .chain("...".chars())
                .collect();
        }
        if self.block.is_some() {
            text.push_str(" {}");
        }
        text
    }

    /// Makes a problem that stands at it.
    pub(super) fn problem(&self, what: String, help: &str) -> Problem {
        problem(&self.file, self.spot, what, help)
    }
}

/// Writes a word as a file would have it, on one line.
fn shown(word: &str) -> String {
    let mut text = String::new();
    for c in word.chars() {
        match c {
            '"' | '\'' | '\\' => text.push(c),
            c => text.extend(c.escape_debug()),
        }
    }
    if word.is_empty() || word.contains([' ', ';', '{', '}']) {
        text = format!("\"{text}\"");
    }
    text
}

/// Reads the text of a file; ids are left at 0.
///
/// # Errors
/// The first problem with its line and column and what to write instead.
pub(super) fn parse(file: &Arc<Path>, text: &str) -> Result<Vec<Directive>, Problem> {
    let mut parser = Parser {
        file,
        lexer: Lexer::new(text),
    };
    let read = parser.block(0, None);
    read.map_err(|Wrong { spot, what, help }| problem(file, spot, what, help))
}

fn problem(file: &Path, spot: Spot, what: String, help: &str) -> Problem {
    Problem {
        file: file.to_owned(),
        line: spot.line,
        column: spot.column,
        what,
        help: Some(help.to_owned()),
    }
}

struct Parser<'a> {
    file: &'a Arc<Path>,
    lexer: Lexer<'a>,
}

impl Parser<'_> {
    fn block(&mut self, depth: usize, opened: Option<Spot>) -> Result<Vec<Directive>, Wrong> {
        let mut out = Vec::new();
        while let Some((token, spot)) = self.lexer.next()? {
            let (what, help) = match token {
                Token::Word(name) => {
                    out.push(self.directive(name, spot, depth)?);
                    continue;
                }
                Token::Close if opened.is_some() => return Ok(out),
                Token::Close => ("this `}` closes nothing", "take it out, or write the `{`"),
                Token::Open => (
                    "this `{` opens nothing",
                    "write the name of a block before it",
                ),
                Token::End => ("this `;` ends nothing", "take it out"),
            };
            let what = what.to_owned();
            return Err(Wrong { spot, what, help });
        }
        opened.map_or(Ok(out), |spot| Err(unclosed(spot)))
    }

    fn directive(&mut self, name: String, spot: Spot, depth: usize) -> Result<Directive, Wrong> {
        let (mut args, mut block) = (Vec::new(), None);
        loop {
            match self.lexer.next()? {
                Some((Token::Word(word), _)) => args.push(word),
                Some((Token::End, _)) => break,
                Some((Token::Open, opened)) => {
                    if depth >= DEPTH_MAX {
                        return Err(Wrong {
                            spot: opened,
                            what: format!("more than {DEPTH_MAX} blocks within blocks"),
                            help: "nginx itself knows five",
                        });
                    }
                    block = Some(if name.ends_with("_by_lua_block") {
                        self.lexer.skip_block(opened)?;
                        Vec::new()
                    } else {
                        self.block(depth + 1, Some(opened))?
                    });
                    break;
                }
                Some((Token::Close, _)) | None => {
                    return Err(Wrong {
                        spot,
                        what: format!("`{}` has no end", name.escape_debug()),
                        help: "write `;` behind it",
                    });
                }
            }
        }
        Ok(Directive {
            name,
            args,
            block,
            file: Arc::clone(self.file),
            spot,
            id: 0,
        })
    }
}
