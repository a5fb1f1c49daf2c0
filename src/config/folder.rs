//! The configuration folder on disk, and the one compiled in.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostics, Place, Problem};
use super::settings_file::{Outside, Overrides, Surroundings};
use super::{Document, Files, Loaded, parse};

/// Larger files are no configuration.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Folders inside folders: deeper than any tree of documents, and an end to links that lead in a circle.
const MAX_FOLDER_DEPTH: usize = 8;
const SETTINGS_FILE: &str = "plimsoll.yaml";
const RULE_FOLDERS: [&str; 3] = ["sources", "slos", "alerts"];

/// Reads `folder`: `plimsoll.yaml` (may be missing), and all YAML below `sources`, `slos` and `alerts`.
///
/// # Errors
/// Every mistake in every file, and every file that cannot be read.
pub fn load(
    folder: &Path,
    environment: &BTreeMap<String, String>,
    surroundings: &Surroundings,
    overrides: &Overrides,
) -> Result<Loaded, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let files = read_folder(folder, &mut diagnostics);
    match parse(files, &Outside { environment, surroundings, overrides, folder, read_file: &read_text }) {
        Ok(loaded) => diagnostics.finish(Some(loaded)),
        Err(found) => {
            diagnostics.list.extend(found.list);
            diagnostics.finish(None)
        }
    }
}

/// The configuration that ships, compiled in.
///
/// # Errors
/// As [`load`]: environment and overrides can be wrong.
pub fn embedded(
    environment: &BTreeMap<String, String>,
    surroundings: &Surroundings,
    overrides: &Overrides,
) -> Result<Loaded, Diagnostics> {
    let folder = Path::new("");
    parse(embedded_files(), &Outside { environment, surroundings, overrides, folder, read_file: &read_text })
}

/// The files of `config/` as they were when this binary was built.
pub fn embedded_files() -> Files {
    let document = |(path, text): (&str, &str)| Document { path: path.into(), text: text.into() };
    let rules = [
        ("sources/commodity-prices.yaml", include_str!("../../config/sources/commodity-prices.yaml")),
        ("sources/ml-predictions.yaml", include_str!("../../config/sources/ml-predictions.yaml")),
        ("sources/platform-events.yaml", include_str!("../../config/sources/platform-events.yaml")),
        ("sources/request-log.yaml", include_str!("../../config/sources/request-log.yaml")),
        ("slos/requests.yaml", include_str!("../../config/slos/requests.yaml")),
        ("slos/services.yaml", include_str!("../../config/slos/services.yaml")),
        ("slos/streaming.yaml", include_str!("../../config/slos/streaming.yaml")),
        ("alerts/platform.yaml", include_str!("../../config/alerts/platform.yaml")),
        ("alerts/severities.yaml", include_str!("../../config/alerts/severities.yaml")),
        ("alerts/streaming.yaml", include_str!("../../config/alerts/streaming.yaml")),
    ];
    Files {
        settings: Some(document((SETTINGS_FILE, include_str!("../../config/plimsoll.yaml")))),
        rules: rules.map(document).to_vec(),
    }
}

fn read_folder(folder: &Path, diagnostics: &mut Diagnostics) -> Files {
    let mut files = Files::default();
    let settings = folder.join(SETTINGS_FILE);
    if settings.exists() {
        files.settings = read_document(&settings, diagnostics);
    }
    for name in RULE_FOLDERS {
        for path in yaml_files(&folder.join(name), diagnostics) {
            files.rules.extend(read_document(&path, diagnostics));
        }
    }
    if files.rules.is_empty() && diagnostics.list.is_empty() {
        let help = "name the folder with --config DIR; YAML stands in its sources, slos and alerts";
        let place = Place::whole_file(&folder.to_string_lossy());
        diagnostics.push(&place, Problem::new("no sources or rules stand in this folder", help));
    }
    files
}

/// In the order of their names, folders inside too; a missing folder is empty.
fn yaml_files(folder: &Path, diagnostics: &mut Diagnostics) -> Vec<PathBuf> {
    let (mut paths, mut open) = (Vec::new(), vec![(folder.to_owned(), 0)]);
    while let Some((folder, depth)) = open.pop() {
        let listed: io::Result<Vec<PathBuf>> = match fs::read_dir(&folder) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let listed = note_unreadable(&folder, listed, diagnostics).unwrap_or_default();
        let (folders, files): (Vec<_>, Vec<_>) = listed.into_iter().partition(|path| path.is_dir());
        paths.extend(files.into_iter().filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml")));
        // Names with a dot in front are not configuration: mounted volumes keep their versions there.
        let shown =
            |path: &PathBuf| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
        if depth < MAX_FOLDER_DEPTH {
            open.extend(folders.into_iter().filter(shown).map(|folder| (folder, depth + 1)));
        }
    }
    paths.sort();
    paths
}

fn read_document(path: &Path, diagnostics: &mut Diagnostics) -> Option<Document> {
    let text = note_unreadable(path, read_text(path), diagnostics)?;
    Some(Document { path: path.to_string_lossy().into_owned(), text })
}

fn note_unreadable<T>(path: &Path, read: io::Result<T>, diagnostics: &mut Diagnostics) -> Option<T> {
    let place = Place::whole_file(&path.to_string_lossy());
    let problem =
        |error| Problem::new(format!("cannot be read: {error}"), "check the path and its permissions");
    diagnostics.accept(&place, read.map_err(problem))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {MAX_FILE_BYTES} bytes"),
        ));
    }
    Ok(text)
}
