//! What a backup is made of: a word about the whole, then each file with its name, mode and length,
//! then how many there were.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::BackupError;

/// The longest description of an entry in bytes.
const ENTRY_MAX: u32 = 64 * 1024;

/// Where a file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// The configuration itself.
    Config,
    /// The file of the master key.
    Key,
    /// Below the policy folder.
    Policy,
    /// Below the state folder.
    Data,
    /// A file that the configuration names, by its whole path.
    Named,
}

/// A word about the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The version of Postern that made it.
    pub(crate) version: String,
    /// When it was made, RFC 3339.
    pub(crate) made: String,
    /// Where the configuration was.
    pub(crate) config: String,
    /// Where the policy folder was.
    pub(crate) policy: String,
    /// Where the state folder was.
    pub(crate) data: String,
    /// Where the file of the master key was.
    pub(crate) master_key: String,
    /// The number of the journal's last record in it; 0 if there is none.
    pub(crate) journal: u64,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// Where it belongs.
    pub(crate) place: Place,
    /// Its path in that place.
    pub(crate) path: String,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Its length in bytes.
    pub(crate) size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    Manifest(Manifest),
    File(FileEntry),
    End(u64),
}

/// Writes the entries of a backup.
pub(super) struct Packer<W> {
    out: W,
    files: u64,
}

impl<W: Write> Packer<W> {
    /// Begins with the word about the whole.
    ///
    /// # Errors
    /// Of the output.
    pub(super) fn new(mut out: W, manifest: Manifest) -> io::Result<Self> {
        put(&mut out, &Entry::Manifest(manifest))?;
        Ok(Self { out, files: 0 })
    }

    /// Adds a file of exactly the length its entry says.
    ///
    /// # Errors
    /// Of input and output, and if the input is shorter.
    pub(super) fn file(&mut self, entry: FileEntry, content: impl Read) -> io::Result<()> {
        let (size, path) = (entry.size, entry.path.clone());
        put(&mut self.out, &Entry::File(entry))?;
        let copied = io::copy(&mut content.take(size), &mut self.out)?;
        if copied != size {
            let text = format!("{path} became shorter while it was read");
            return Err(io::Error::other(text));
        }
        self.files += 1;
        Ok(())
    }

    /// Ends the backup; counts its files.
    ///
    /// # Errors
    /// Of the output.
    pub(super) fn finish(mut self) -> io::Result<(W, u64)> {
        put(&mut self.out, &Entry::End(self.files))?;
        Ok((self.out, self.files))
    }
}

/// Reads a backup to its end and gives each file to `take`; counts them.
///
/// # Errors
/// [`BackupError`] for what does not open or is no backup, and of `take`.
pub(super) fn unpack(
    mut input: impl Read,
    mut take: impl FnMut(&FileEntry, &mut dyn Read) -> Result<(), BackupError>,
) -> Result<Manifest, BackupError> {
    let Entry::Manifest(manifest) = entry(&mut input)? else {
        return Err(BackupError::Malformed("it does not begin with a manifest"));
    };
    let mut files = 0;
    loop {
        match entry(&mut input)? {
            Entry::Manifest(_) => return Err(BackupError::Malformed("it has two manifests")),
            Entry::File(file) => {
                let mut content = (&mut input).take(file.size);
                take(&file, &mut content)?;
                // what was not taken
                io::copy(&mut content, &mut io::sink()).map_err(BackupError::told)?;
                files += 1;
            }
            Entry::End(count) if count == files => break,
            Entry::End(_) => return Err(BackupError::Malformed("files are missing in it")),
        }
    }
    let rest = io::copy(&mut input, &mut io::sink()).map_err(BackupError::told)?;
    match rest {
        0 => Ok(manifest),
        _ => Err(BackupError::Malformed("something follows its end")),
    }
}

fn put(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let text = serde_json::to_vec(entry)?;
    let len = u32::try_from(text.len()).ok().filter(|n| *n <= ENTRY_MAX);
    let len = len.ok_or_else(|| io::Error::other("the name of a file is too long"))?;
    out.write_all(&len.to_be_bytes())?;
    out.write_all(&text)
}

fn entry(input: &mut impl Read) -> Result<Entry, BackupError> {
    let mut len = [0; 4];
    input.read_exact(&mut len).map_err(BackupError::told)?;
    let len = u32::from_be_bytes(len);
    if len > ENTRY_MAX {
        return Err(BackupError::Malformed("an entry in it is too long"));
    }
    let mut text = Vec::new();
    let mut part = input.take(u64::from(len));
    part.read_to_end(&mut text).map_err(BackupError::told)?;
    serde_json::from_slice(&text).map_err(|_| BackupError::Malformed("an entry in it is unknown"))
}

#[cfg(test)]
mod tests {
    use super::{BackupError, FileEntry, Manifest, Packer, Place, unpack};

    fn manifest() -> Manifest {
        Manifest {
            version: "1".to_owned(),
            made: "2026-01-01T00:00:00Z".to_owned(),
            config: "/a".to_owned(),
            policy: "/b".to_owned(),
            data: "/c".to_owned(),
            master_key: "/d".to_owned(),
            journal: 9,
        }
    }

    fn entry(path: &str, size: u64) -> FileEntry {
        FileEntry {
            place: Place::Data,
            path: path.to_owned(),
            mode: 0o600,
            size,
        }
    }

    fn packed() -> Vec<u8> {
        let mut packer = Packer::new(Vec::new(), manifest()).unwrap();
        packer.file(entry("x", 3), &b"abcdef"[..]).unwrap();
        packer.file(entry("y", 0), &b""[..]).unwrap();
        packer.finish().unwrap().0
    }

    #[test]
    fn files_come_back_with_their_names_and_bytes() {
        let mut found = Vec::new();
        let read = unpack(packed().as_slice(), |file, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).unwrap();
            found.push((file.path.clone(), bytes));
            Ok(())
        });
        assert_eq!(read.unwrap(), manifest());
        let wanted = [("x", b"abc".to_vec()), ("y", Vec::new())];
        assert_eq!(found, wanted.map(|(name, bytes)| (name.to_owned(), bytes)));
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let mut packer = Packer::new(Vec::new(), manifest()).unwrap();
        let error = packer.file(entry("x", 7), &b"abc"[..]).unwrap_err();
        assert!(error.to_string().contains("became shorter"), "{error}");
    }

    #[test]
    fn what_is_cut_or_goes_on_is_no_backup() {
        let whole = packed();
        let read = |bytes: &[u8]| unpack(bytes, |_, _| Ok(()));
        assert!(read(&whole).is_ok());
        for len in 0..whole.len() {
            assert!(read(whole.get(..len).unwrap()).is_err(), "{len}");
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert!(matches!(read(&longer), Err(BackupError::Malformed(_))));
    }
}
