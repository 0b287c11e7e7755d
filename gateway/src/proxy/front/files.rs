//! Files of a folder as answers.
//!
//! A path of a request is canonical before it comes here; the kernel then refuses to leave the folder, by whatever
//! link. Files whose names begin with a dot are not there.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use http::header;
use pingora_http::ResponseHeader;
use policy::front::{Static, below};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use sha2::{Digest, Sha256};

use super::range::{self, Part, Version};

/// What is read and sent at once, in bytes.
pub(crate) const CHUNK: usize = 64 * 1024;

/// A folder of files.
#[derive(Clone)]
pub(crate) struct Folder {
    written: Arc<Static>,
}

/// What a path leads to.
pub(crate) enum Found {
    /// A file, with the name its type is read from.
    File(File, String),
    /// A folder, asked for without the last slash.
    Folder,
    /// Nothing that may be seen.
    Nothing,
}

impl Folder {
    /// Reads the policy's key.
    pub(super) fn new(written: &Static) -> Self {
        Self {
            written: Arc::new(written.clone()),
        }
    }

    /// Opens what a canonical path stands for; it blocks.
    pub(crate) fn open(&self, path: &str, depth: usize) -> Found {
        let found = self.find(below(path, depth));
        match (&found, &self.written.fallback) {
            (Found::Nothing, Some(fallback)) => match self.get(fallback) {
                Ok(Some(file)) => Found::File(file, fallback.clone()),
                Ok(None) | Err(_) => Found::Nothing,
            },
            _ => found,
        }
    }

    fn find(&self, path: &str) -> Found {
        let Some(name) = decoded(path) else {
            return Found::Nothing;
        };
        let relative = name.trim_start_matches('/');
        let into_folder = relative.is_empty() || relative.ends_with('/');
        let relative = if into_folder {
            format!("{relative}{}", self.written.index)
        } else {
            relative.to_owned()
        };
        match self.get(&relative) {
            Ok(Some(file)) => Found::File(file, relative),
            Ok(None) if !into_folder => Found::Folder,
            Ok(None) | Err(_) => Found::Nothing,
        }
    }

    /// Opens a file below the root; `Ok(None)` for a folder.
    fn get(&self, relative: &str) -> io::Result<Option<File>> {
        let root = rustix::fs::open(
            Path::new(&self.written.root),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(&root, relative, flags, Mode::empty(), within)?;
        let file = File::from(file);
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Ok(None);
        }
        if !meta.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Some(file))
    }
}

/// Decodes a canonical path; `None` where a segment begins with a dot or holds what no file of a site is named.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    let name = String::from_utf8(bytes).ok()?;
    let hidden = |part: &str| part.starts_with('.') && part != ".well-known";
    let bad = name.chars().any(char::is_control) || name.contains('\\');
    let unseen = bad || name.split('/').any(hidden) || name.contains("//");
    (!unseen).then_some(name)
}

/// The head of an answer, and where in the file its body begins and how long it is.
pub(crate) struct Head {
    /// Status and fields.
    pub(crate) head: ResponseHeader,
    /// Where the body begins.
    pub(crate) from: u64,
    /// Its length; 0 for none.
    pub(crate) length: u64,
}

/// Writes the head of the answer with a file.
///
/// # Errors
/// When the file cannot be asked; header building reports none in practice.
pub(crate) fn head(file: &File, name: &str, request: &http::HeaderMap) -> anyhow::Result<Head> {
    let meta = file.metadata()?;
    let tag = tag(&meta);
    let version = Version {
        tag: &tag,
        strong: true,
        changed: meta.mtime(),
        length: meta.len(),
    };
    let part = range::wanted(request, &version);
    let (status, from, length) = match part {
        Part::Whole => (200, 0, version.length),
        Part::Of(first, last) => (206, first, last - first + 1),
        Part::NotModified => (304, 0, 0),
        Part::Outside => (416, 0, 0),
    };
    let mut head = ResponseHeader::build(status, Some(8))?;
    head.insert_header(header::ETAG, tag.as_str())?;
    if let Some(changed) = range::date(version.changed) {
        head.insert_header(header::LAST_MODIFIED, changed)?;
    }
    head.insert_header(header::CACHE_CONTROL, "private, no-cache")?;
    match part {
        Part::NotModified => return Ok(Head { head, from, length }),
        Part::Outside => {
            let whole = format!("bytes */{}", version.length);
            head.insert_header(header::CONTENT_RANGE, whole)?;
        }
        Part::Of(first, last) => {
            let of = format!("bytes {first}-{last}/{}", version.length);
            head.insert_header(header::CONTENT_RANGE, of)?;
        }
        Part::Whole => {}
    }
    head.insert_header(header::CONTENT_TYPE, media_type(name))?;
    head.insert_header(header::ACCEPT_RANGES, "bytes")?;
    head.insert_header(header::CONTENT_LENGTH, length.to_string())?;
    Ok(Head { head, from, length })
}

/// An entity tag that changes with the file, and tells nothing of the machine.
fn tag(meta: &std::fs::Metadata) -> String {
    let mut hash = Sha256::new();
    for number in [meta.mtime(), meta.mtime_nsec()] {
        hash.update(number.to_le_bytes());
    }
    for number in [meta.len(), meta.ino(), meta.dev()] {
        hash.update(number.to_le_bytes());
    }
    let digest = hash.finalize();
    let digest = digest.get(..12).unwrap_or_default();
    format!("\"{}\"", data_encoding::BASE64URL_NOPAD.encode(digest))
}

const TYPES: [(&str, &str); 30] = [
    ("avif", "image/avif"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

fn media_type(name: &str) -> &'static str {
    let file = name.rsplit('/').next().unwrap_or_default();
    let ending = file.rsplit_once('.').map(|(_, ending)| ending);
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    let known = TYPES.iter().find(|(known, _)| *known == ending);
    known.map_or("application/octet-stream", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::path::PathBuf;

    use super::{Folder, Found, head};
    use crate::ids;
    use policy::front::Static;

    struct Site(PathBuf);

    impl Site {
        fn new() -> Self {
            let dir = std::env::temp_dir().join(ids::token());
            std::fs::create_dir_all(dir.join("www/sub")).unwrap();
            std::fs::write(dir.join("secret"), "secret").unwrap();
            for (name, text) in [
                ("index.html", "home"),
                ("sub/index.html", "sub"),
                ("été.css", "css"),
                (".env", "secret"),
            ] {
                std::fs::write(dir.join("www").join(name), text).unwrap();
            }
            std::os::unix::fs::symlink("../secret", dir.join("www/out")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", dir.join("www/abs")).unwrap();
            std::os::unix::fs::symlink("index.html", dir.join("www/in")).unwrap();
            Self(dir)
        }

        fn folder(&self, fallback: Option<&str>) -> Folder {
            Folder::new(&Static {
                root: self.0.join("www").to_str().unwrap().to_owned(),
                index: "index.html".to_owned(),
                fallback: fallback.map(str::to_owned),
            })
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn read(folder: &Folder, path: &str, depth: usize) -> String {
        match folder.open(path, depth) {
            Found::File(mut file, _) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                text
            }
            Found::Folder => "a folder".to_owned(),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn files_are_found_below_the_area_and_nowhere_else() {
        let site = Site::new();
        let folder = site.folder(None);
        for (path, depth, text) in [
            ("/", 0, "home"),
            ("/index.html", 0, "home"),
            ("/docs/", 1, "home"),
            ("/docs", 1, "home"),
            ("/sub", 0, "a folder"),
            ("/sub/", 0, "sub"),
            ("/%C3%A9t%C3%A9.css", 0, "css"),
            ("/in", 0, "home"),
            ("/out", 0, "nothing"),
            ("/abs", 0, "nothing"),
            ("/.env", 0, "nothing"),
            ("/index.html/", 0, "nothing"),
            ("/missing", 0, "nothing"),
            ("/%00", 0, "nothing"),
        ] {
            assert_eq!(read(&folder, path, depth), text, "{path}");
        }
    }

    #[test]
    fn an_app_that_reads_paths_gets_its_page_and_no_secret_file() {
        let site = Site::new();
        let folder = site.folder(Some("index.html"));
        assert_eq!(read(&folder, "/orders/7", 0), "home");
        assert_eq!(read(&folder, "/sub/index.html", 0), "sub");
        assert_eq!(read(&folder, "/.env", 0), "home");
    }

    #[test]
    fn an_answer_has_type_tag_and_length_and_a_known_one_is_not_sent() {
        let site = Site::new();
        let Found::File(file, name) = site.folder(None).open("/index.html", 0) else {
            panic!("no file")
        };
        let mut request = http::HeaderMap::new();
        let first = head(&file, &name, &request).unwrap();
        assert_eq!((first.head.status.as_u16(), first.length), (200, 4));
        assert_eq!(
            first.head.headers["content-type"],
            "text/html; charset=utf-8"
        );
        request.insert("if-none-match", first.head.headers["etag"].clone());
        let again = head(&file, &name, &request).unwrap();
        assert_eq!((again.head.status.as_u16(), again.length), (304, 0));
        request.clear();
        request.insert("range", "bytes=1-2".parse().unwrap());
        let part = head(&file, &name, &request).unwrap();
        assert_eq!(
            (part.head.status.as_u16(), part.from, part.length),
            (206, 1, 2)
        );
        assert_eq!(part.head.headers["content-range"], "bytes 1-2/4");
    }
}
