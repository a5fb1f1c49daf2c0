//! Records in a file, one JSON object a line, in arrival order:
//!
//! ```json
//! {"topic":"request-log","partition":0,"timestamp_ms":1761876000000,"key":"dTAwMDAwMQ==","payload":"eyJ0cyI6..."}
//! ```
//!
//! `key` (null when there is none) and `payload` are base64, standard and padded: payloads need not be UTF-8. Within
//! a topic and partition, the order of the lines is the order of the offsets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

use super::workload::Generated;

/// A record as it was written; what was good, late or bad about it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    pub topic: String,
    pub partition: u32,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
}

#[derive(Debug, Error)]
pub enum FileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}:{line}: no record as `plimsoll generate --output` writes them: {detail}", path.display())]
    Line { path: PathBuf, line: u64, detail: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    topic: String,
    partition: u32,
    timestamp_ms: i64,
    key: Option<String>,
    payload: String,
}

/// Writes all records to a new file (or over an old one) and returns how many there were.
pub fn write_file(path: &Path, records: impl IntoIterator<Item = Generated>) -> Result<u64, FileError> {
    let failed = |source| FileError::Io { path: path.to_owned(), source };
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    let mut written = 0;
    for record in records {
        let line = Line {
            topic: record.topic.to_owned(),
            partition: record.partition,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(|key| STANDARD.encode(key)),
            payload: STANDARD.encode(&record.payload),
        };
        serde_json::to_writer(&mut out, &line).map_err(|error| failed(error.into()))?;
        out.write_all(b"\n").map_err(failed)?;
        written += 1;
    }
    out.flush().map_err(failed)?;
    Ok(written)
}

/// Reads a file line by line into memory that is used again: for files of many millions of records.
pub struct FileReader {
    path: PathBuf,
    lines: BufReader<File>,
    text: String,
    line: u64,
}

/// A record whose payload is still in base64; its key is passed over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileLine<'a> {
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    pub partition: u32,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    #[serde(rename = "key")]
    _key: IgnoredAny,
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

impl FileReader {
    pub fn open(path: &Path) -> Result<FileReader, FileError> {
        let file = File::open(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
        let lines = BufReader::with_capacity(1 << 18, file);
        Ok(FileReader { path: path.to_owned(), lines, text: String::new(), line: 0 })
    }

    /// The next record; None at the end.
    pub fn next_line(&mut self) -> Result<Option<FileLine<'_>>, FileError> {
        self.text.clear();
        let read = self.lines.read_line(&mut self.text);
        let failed = |source| FileError::Io { path: self.path.clone(), source };
        if read.map_err(failed)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let read = serde_json::from_str(&self.text);
        read.map(Some).map_err(|error| FileError::Line {
            path: self.path.clone(),
            line: self.line,
            detail: error.to_string(),
        })
    }

    /// The error of a line that was read last.
    pub fn wrong(&self, detail: String) -> FileError {
        FileError::Line { path: self.path.clone(), line: self.line, detail }
    }
}

impl FileLine<'_> {
    /// Decodes the payload into `bytes`, which is cleared first; an error says what is wrong with it.
    pub fn payload_into(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        bytes.clear();
        STANDARD.decode_vec(&*self.payload, bytes).map_err(|error| format!("payload is not base64: {error}"))
    }
}

/// Reads a file record by record; an error is the last item to rely on.
pub fn read_file(path: &Path) -> Result<impl Iterator<Item = Result<FileRecord, FileError>>, FileError> {
    let path = path.to_owned();
    let file = File::open(&path).map_err(|source| FileError::Io { path: path.clone(), source })?;
    let lines = BufReader::new(file).lines();
    Ok(lines.zip(1..).map(move |(text, line)| {
        let text = text.map_err(|source| FileError::Io { path: path.clone(), source })?;
        parse(&text).map_err(|detail| FileError::Line { path: path.clone(), line, detail })
    }))
}

fn parse(text: &str) -> Result<FileRecord, String> {
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let decode = |field: &str, text: &str| {
        STANDARD.decode(text).map_err(|error| format!("{field} is not base64: {error}"))
    };
    Ok(FileRecord {
        topic: line.topic,
        partition: line.partition,
        timestamp_ms: line.timestamp_ms,
        key: line.key.map(|key| decode("key", &key)).transpose()?,
        payload: decode("payload", &line.payload)?,
    })
}
