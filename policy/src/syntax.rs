//! Text to a spanned tree of definitions: key tables, value types and spelling, but no meaning of names yet.

mod front;
mod keys;
mod lower;
mod parts;
mod read;
mod schema;
mod tenants;
mod tree;

pub(crate) use front::FrontAst;
pub use lower::FORMAT_VERSION;
pub(crate) use parts::{Part, SIZE as PART, in_parts};
pub(crate) use read::is_name;
pub use schema::json_schema;

use crate::diag::{Diagnostic, show};
use crate::source::{FileId, Sources, Span};
use crate::text::{Text, Texts};

/// Largest policy file, in bytes.
pub(crate) const MAX_FILE: usize = 8 * 1024 * 1024;

/// Syntax errors reported of one file; behind the first few, one mistake shows as many.
const MAX_SYNTAX_ERRORS: usize = 5;
/// The parser's message for a mistake that leaves the rest of the file sound.
const DUPLICATE: &str = "duplicate key";

/// Whether a file could not be read, so that names it defines are not known.
pub(crate) fn is_broken(diags: &[Diagnostic]) -> bool {
    diags.iter().any(|d| d.code == "syntax")
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Sp<T> {
    pub(crate) v: T,
    pub(crate) span: Span,
}

/// Text with its place.
pub(crate) type Word = Sp<Text>;

/// One word, or a list of words.
#[derive(Clone, Debug)]
pub(crate) enum Words {
    One(Word),
    Many(Sp<Vec<Word>>),
}

/// Words that stand together, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'a> {
    pub(crate) v: &'a [Word],
    pub(crate) span: Span,
}

impl Words {
    pub(crate) fn list(&self) -> List<'_> {
        match self {
            Self::One(word) => List {
                v: std::slice::from_ref(word),
                span: word.span,
            },
            Self::Many(list) => list.list(),
        }
    }

    pub(crate) fn words_mut(&mut self) -> &mut [Word] {
        match self {
            Self::One(word) => std::slice::from_mut(word),
            Self::Many(list) => &mut list.v,
        }
    }
}

impl Sp<Vec<Word>> {
    pub(crate) fn list(&self) -> List<'_> {
        List {
            v: &self.v,
            span: self.span,
        }
    }
}

/// Adds definitions behind those that are there.
fn append<T>(into: &mut Vec<T>, more: Vec<T>) {
    if into.is_empty() {
        *into = more;
    } else {
        into.extend(more);
    }
}

/// A named definition; the span is the name's.
#[derive(Clone, Debug)]
pub(crate) struct Def<T> {
    pub(crate) name: Word,
    pub(crate) body: T,
}

/// All definitions of all files, in the order in which they stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ast {
    pub(crate) zones: Vec<Def<Vec<Word>>>,
    pub(crate) zone_groups: Vec<Def<Vec<Word>>>,
    pub(crate) schedules: Vec<Def<ScheduleAst>>,
    pub(crate) groups: Vec<Def<GroupAst>>,
    pub(crate) users: Vec<Def<UserAst>>,
    /// The files named users.toml.
    pub(crate) users_files: Vec<FileId>,
    pub(crate) tenants: Vec<Def<TenantAst>>,
    /// Paths of lists of networks.
    pub(crate) zone_files: Vec<Def<Word>>,
    pub(crate) default: Vec<Def<DefaultAst>>,
    pub(crate) tunnel: Vec<Def<TunnelAst>>,
    pub(crate) rates: Vec<Def<Word>>,
    /// Names and texts of each set.
    pub(crate) headers: Vec<Def<Vec<(Word, Word)>>>,
    pub(crate) apps: Vec<Def<AppAst>>,
    pub(crate) nets: Vec<Def<NetAst>>,
    pub(crate) guards: Vec<Def<GuardAst>>,
    pub(crate) admin: Vec<Def<Vec<Def<AllowAst>>>>,
    pub(crate) tests: Vec<TestAst>,
    pub(crate) invariants: Vec<InvariantAst>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TenantAst {
    pub(crate) dir: Option<Word>,
    pub(crate) domains: Option<Sp<Vec<Word>>>,
    pub(crate) apps: Option<Sp<u64>>,
    pub(crate) allows: Option<Sp<u64>>,
}

#[derive(Clone, Debug)]
pub(crate) struct GroupAst {
    pub(crate) members: Vec<Word>,
    pub(crate) optional: bool,
    /// `attr:…` of `[group-from]`.
    pub(crate) from: Option<Word>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ScheduleAst {
    pub(crate) days: Option<Sp<Vec<Word>>>,
    pub(crate) time: Option<Sp<Vec<Word>>>,
    pub(crate) between: Option<Word>,
    pub(crate) tz: Option<Word>,
}

#[derive(Clone, Debug)]
pub(crate) struct InvariantAst {
    pub(crate) span: Span,
    pub(crate) name: Option<String>,
    pub(crate) reach: Option<Sp<Vec<Word>>>,
    pub(crate) only: Option<Sp<Vec<Word>>>,
    pub(crate) never: Option<Sp<Vec<Word>>>,
    pub(crate) requires: Option<RequiresAst>,
    pub(crate) who: Option<Sp<Vec<Word>>>,
    pub(crate) can_reach: Option<Sp<Vec<Word>>>,
    /// `tenants-disjoint`, at its key.
    pub(crate) disjoint: Option<Sp<bool>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RequiresAst {
    pub(crate) device: Option<Word>,
    pub(crate) mfa: Option<Word>,
    pub(crate) login: Option<Word>,
    pub(crate) from: Option<Sp<Vec<Word>>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct UserAst {
    pub(crate) display: Option<Word>,
    pub(crate) mail: Option<Word>,
    pub(crate) language: Option<Word>,
    pub(crate) disabled: bool,
    pub(crate) attributes: Vec<Def<Word>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct DefaultAst {
    pub(crate) mfa: Option<Word>,
    pub(crate) login: Option<Word>,
    pub(crate) rate: Option<Word>,
    pub(crate) headers: Option<Word>,
    pub(crate) device: Option<Word>,
    pub(crate) idle: Option<Word>,
    pub(crate) sessions: Option<Sp<u64>>,
    pub(crate) extend: Option<Word>,
    pub(crate) hide: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TunnelAst {
    pub(crate) sign_in: Option<Word>,
    pub(crate) reprove: Option<ReproveAst>,
    /// Devices, as `USER/DEVICE`, and the nets that each may reach without a sign-in.
    pub(crate) headless: Vec<Def<Sp<Vec<Word>>>>,
    pub(crate) dns: Option<DnsAst>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct DnsAst {
    pub(crate) others: Option<Word>,
    pub(crate) quarantine: Option<Word>,
    pub(crate) refuse: Option<Sp<Vec<Word>>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ReproveAst {
    /// At its key.
    pub(crate) span: Span,
    pub(crate) moved: Option<bool>,
    pub(crate) after: Option<Word>,
    pub(crate) idle: Option<Word>,
}

#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub(crate) struct AppAst {
    pub(crate) host: Option<Vec<Word>>,
    /// The set of all areas that name none.
    pub(crate) headers: Option<Word>,
    pub(crate) windows: bool,
    pub(crate) case_insensitive: bool,
    pub(crate) path_params: bool,
    pub(crate) encoded_slashes: bool,
    pub(crate) empty_segments: bool,
    pub(crate) preflight: bool,
    pub(crate) shadow: bool,
    pub(crate) root: AreaAst,
    pub(crate) areas: Vec<Def<AreaAst>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct AreaAst {
    pub(crate) public: Option<Word>,
    pub(crate) headers: Option<Word>,
    pub(crate) shadow: bool,
    pub(crate) device_only: bool,
    pub(crate) tokens: Option<Word>,
    pub(crate) front: Option<Box<FrontAst>>,
    pub(crate) allows: Vec<Def<AllowAst>>,
}

/// A rule. There are many of them, so what most leave out takes no room.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowAst {
    pub(crate) who: Option<Words>,
    /// The other keys, each once.
    pub(crate) said: Vec<(AllowKey, Words)>,
    pub(crate) sessions: Option<Box<Sp<u64>>>,
    pub(crate) shadow: bool,
}

/// What a rule may say besides who it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllowKey {
    From,
    When,
    Device,
    Mfa,
    Login,
    Idle,
    Methods,
    Rate,
    Headers,
}

impl AllowAst {
    /// What a key says that takes several words.
    pub(crate) fn list(&self, key: AllowKey) -> Option<List<'_>> {
        let mut said = self.said.iter();
        said.find(|(own, _)| *own == key)
            .map(|(_, words)| words.list())
    }

    /// What a key says that takes one word.
    pub(crate) fn word(&self, key: AllowKey) -> Option<&Word> {
        self.list(key)?.v.first()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct NetAst {
    pub(crate) to: Option<Vec<Word>>,
    pub(crate) port: Option<Vec<Word>>,
    pub(crate) shadow: bool,
    pub(crate) allows: Vec<Def<AllowAst>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct GuardAst {
    pub(crate) who: Option<Sp<Vec<Word>>>,
    pub(crate) from: Option<Sp<Vec<Word>>>,
    pub(crate) device_not: Option<Word>,
    pub(crate) on: Option<Sp<Vec<Word>>>,
    pub(crate) when: Option<Sp<Vec<Word>>>,
    pub(crate) unless_when: Option<Sp<Vec<Word>>>,
    pub(crate) shadow: bool,
    pub(crate) reason: Option<Word>,
}

#[derive(Clone, Debug)]
pub(crate) struct TestAst {
    pub(crate) span: Span,
    pub(crate) name: Option<String>,
    pub(crate) subject: AsAst,
    pub(crate) to: Option<Word>,
    pub(crate) expect: Option<ExpectAst>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct AsAst {
    pub(crate) user: Option<Word>,
    pub(crate) groups: Vec<Word>,
    pub(crate) by: Option<Word>,
    pub(crate) from: Option<Word>,
    pub(crate) at: Option<Word>,
    pub(crate) device: Option<Word>,
    pub(crate) mfa: Option<Word>,
    pub(crate) login: Option<Word>,
}

#[derive(Clone, Debug)]
pub(crate) struct ExpectAst {
    pub(crate) outcome: Word,
    pub(crate) rule: Option<Word>,
}

/// Parses every file. The tree holds what could be read; any error among the findings makes it unusable.
pub(crate) fn parse(sources: &Sources) -> (Ast, Vec<Diagnostic>) {
    let mut ast = Ast::default();
    let mut diags = Vec::new();
    let mut texts = Texts::default();
    for file in sources.files().filter(|&file| !sources.is_list(file)) {
        parse_file((sources, file), &mut texts, &mut ast, &mut diags);
    }
    (ast, diags)
}

fn parse_file(
    (sources, file): (&Sources, FileId),
    texts: &mut Texts,
    ast: &mut Ast,
    diags: &mut Vec<Diagnostic>,
) {
    let text = sources.text(file);
    if text.len() > MAX_FILE {
        diags.push(
            Diagnostic::error("limit", Span::new(file, 0..0), "file is larger than 8 MiB")
                .help("split it: all files of the folder are one policy"),
        );
        return;
    }
    let Some(tree) = tree::read_plain(file, text).or_else(|| whole(file, text, diags)) else {
        return;
    };
    texts.expect_file(text.len());
    let users_file = is_users_file(sources, file);
    ast.users_files.extend(users_file.then_some(file));
    let mut reader = read::Reader {
        file,
        users_file,
        texts,
        diags,
    };
    lower::file(&mut reader, tree.root(), ast);
}

/// Whether people may stand in a file.
fn is_users_file(sources: &Sources, file: FileId) -> bool {
    let path = sources.relative(file);
    path == "users.toml" || path.ends_with("/users.toml")
}

/// Reads a file of any kind, noting what is wrong; `None` when what was read cannot be trusted.
fn whole<'i>(file: FileId, text: &'i str, diags: &mut Vec<Diagnostic>) -> Option<tree::Tree<'i>> {
    let (tree, errors) = tree::read_whole(file, text);
    let broken = errors.iter().any(|error| error.message() != DUPLICATE);
    for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
        let span = Span::new(file, error.span().unwrap_or(0..0));
        let duplicate = error.message() == DUPLICATE;
        let code = if duplicate { "duplicate-key" } else { "syntax" };
        diags.push(Diagnostic::error(code, span, show(error.message())));
    }
    (!broken).then_some(tree)
}
