//! Writes a history, line by line, so that what was said survives a kill of the process.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use dtx_core::ids::{TxId, mix};

use super::line::{HISTORY_VERSION, Happening, What};

/// What the first line of every incarnation has in it.
const BEGAN: &[u8] = b"\"what\":\"began\"";

/// A digest of a payload: equal for equal bytes, and nothing of them can be read in it.
pub fn digest(payload: &[u8]) -> String {
    let fold = |sum: u64, byte: &u8| mix(sum ^ u64::from(*byte)).rotate_left(7);
    format!("{:016x}", payload.iter().fold(mix(payload.len() as u64), fold))
}

/// A file that a history is appended to. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct HistoryWriter {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    incarnation: u64,
    lines: u64,
    failed: Option<io::Error>,
}

impl HistoryWriter {
    /// Begins an incarnation at the end of a file, which is made if it is not there. A last line
    /// that an earlier process did not live to end is closed first.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn append(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let incarnation = 1 + count_incarnations(&file)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        let inner = Inner { file, incarnation, lines: 0, failed: None };
        let writer = Self { inner: Arc::new(Mutex::new(inner)) };
        let began = What::Began { version: HISTORY_VERSION, faults: Vec::new() };
        writer.note("run", [(None, began)]);
        Ok(writer)
    }

    /// Appends what happened, at once. Blocks as long as the system takes to copy the bytes. The
    /// first error is kept for [`Self::end`], and nothing is written after it.
    pub fn note(&self, node: &str, said: impl IntoIterator<Item = (Option<TxId>, What)>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.failed.is_some() {
            return;
        }
        if let Err(error) = inner.write(node, said) {
            inner.failed = Some(error);
        }
    }

    /// Ends the incarnation.
    ///
    /// # Errors
    /// The first error of any write.
    pub fn end(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = inner.failed.take() {
            return Err(error);
        }
        let lines = inner.lines + 1;
        inner.write("run", [(None, What::Ended { lines })])
    }
}

impl Inner {
    fn write(
        &mut self,
        node: &str,
        said: impl IntoIterator<Item = (Option<TxId>, What)>,
    ) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let mut text = Vec::new();
        for (tx, what) in said {
            let happening = Happening::new(at_us, node, self.incarnation, tx, what);
            serde_json::to_writer(&mut text, &happening)?;
            text.push(b'\n');
            self.lines += 1;
        }
        self.file.write_all(&text)
    }
}

fn count_incarnations(file: &File) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let (mut line, mut count) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        count += u64::from(line.windows(BEGAN.len()).any(|part| part == BEGAN));
        line.clear();
    }
    Ok(count)
}
