//! Where downloads and the data of local services live, and how they are cleaned up after a crash.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Why a local service did not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("`{program}` is not installed: apt-get install {package}")]
    Missing { program: String, package: &'static str },
    #[error("{what} {}: {source}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{what}: {detail}")]
    Failed { what: &'static str, detail: String },
}

impl LocalError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LocalError {
        let path = path.to_owned();
        move |source| LocalError::Io { what, path, source }
    }
}

/// `$PLIMSOLL_CACHE`, else `$XDG_CACHE_HOME/plimsoll`, else `~/.cache/plimsoll`; created when missing.
pub fn directory() -> Result<PathBuf, LocalError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = set("PLIMSOLL_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("plimsoll")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/plimsoll")))
        .ok_or_else(|| LocalError::Failed {
            what: "no cache directory",
            detail: "set PLIMSOLL_CACHE to a directory for downloads".to_owned(),
        })?;
    fs::create_dir_all(&path).map_err(LocalError::io("creating the cache", &path))?;
    Ok(path)
}

/// A port of 127.0.0.1 nobody listens on now. Another process may take it before its user does.
pub fn free_port() -> Result<u16, LocalError> {
    Ok(free_ports(1)?[0])
}

/// Several, no two the same.
pub fn free_ports(count: usize) -> Result<Vec<u16>, LocalError> {
    let failed = |error: io::Error| LocalError::Failed { what: "no free port", detail: error.to_string() };
    // Held until all are found, so that none is given twice.
    let listeners = (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0)));
    let listeners = listeners.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    listeners.iter().map(|listener| Ok(listener.local_addr().map_err(failed)?.port())).collect()
}

/// The data of one local service: gone when dropped, swept by the next start after a crash.
///
/// The owner holds a lock on a file inside, which the kernel frees when it dies. So a directory whose lock can be had
/// is stale, whatever became of its owner's pid.
#[derive(Debug)]
pub struct ScratchDirectory {
    path: PathBuf,
    _lock: File,
}

const LOCK_NAME: &str = "owner.lock";
/// A directory without a lock file is either being made or was left in the middle of it.
const UNLOCKED_AFTER: Duration = Duration::from_secs(600);

impl ScratchDirectory {
    /// Makes `plimsoll-<service>-<pid>-<n>` in the system's temporary directory, after sweeping stale ones.
    pub fn create(service: &str) -> Result<ScratchDirectory, LocalError> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let base = std::env::temp_dir();
        let prefix = format!("plimsoll-{service}-");
        sweep(&base, &prefix);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{prefix}{}-{count}", std::process::id()));
        fs::create_dir(&path).map_err(LocalError::io("creating", &path))?;
        let lock_path = path.join(LOCK_NAME);
        let lock = File::create(&lock_path).map_err(LocalError::io("creating", &lock_path))?;
        lock.lock().map_err(LocalError::io("locking", &lock_path))?;
        Ok(ScratchDirectory { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is swept by a later start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what dead owners left. Errors are left to a later sweep: they must not keep a service from starting.
fn sweep(base: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) && is_stale(&entry.path())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_stale(directory: &Path) -> bool {
    match File::open(directory.join(LOCK_NAME)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(_) => fs::metadata(directory)
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|modified| modified.elapsed().ok())
            .is_some_and(|age| age > UNLOCKED_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_what_a_dead_owner_left_and_nothing_else() {
        let alive = ScratchDirectory::create("sweep-test").unwrap();
        let dead = std::env::temp_dir().join("plimsoll-sweep-test-0-0");
        fs::create_dir_all(&dead).unwrap();
        fs::write(dead.join(LOCK_NAME), "").unwrap();
        let young = std::env::temp_dir().join("plimsoll-sweep-test-0-1");
        fs::create_dir_all(&young).unwrap();

        let next = ScratchDirectory::create("sweep-test").unwrap();
        assert!(alive.path().exists() && next.path().exists() && young.exists());
        assert!(!dead.exists());

        fs::remove_dir(&young).unwrap();
        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
    }
}
