use std::path::{Path, PathBuf};

use crate::ids;

/// A folder of mode 0700 that goes away with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::DirBuilderExt;
        let name = data_encoding::HEXLOWER.encode(&ids::random::<8>());
        let path = std::env::temp_dir().join(format!("postern-test-{name}"));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

mod kept;
