//! A small disk for the tables of Postgres, to be full when it must be. Mounting one takes root.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll::local::cluster::LocalCluster;

use super::support::Deployment;

const SIZE: &str = "size=1g";

pub struct Disk {
    mount: Mount,
}

struct Mount(PathBuf);

impl Disk {
    /// Every table made from now on lies on it. `None`, with a word, where nothing can be mounted.
    pub fn mount(deployment: &Deployment<LocalCluster>) -> Option<Disk> {
        let home = deployment.postgres.directory();
        let at = home.join("small-disk");
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&at).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!(
                "no small disk can be mounted here (are you root?): the disk of Postgres will not be full"
            );
            return None;
        }
        let mount = Mount(at);
        let tables = mount.0.join("tables");
        fs::create_dir(&tables).unwrap();
        let owner = fs::metadata(home).unwrap();
        chown(&tables, Some(owner.uid()), Some(owner.gid())).unwrap();
        let mut client = deployment.client();
        client.batch_execute(&format!("create tablespace small location '{}'", tables.display())).unwrap();
        client.batch_execute("alter database plimsoll set default_tablespace = small").unwrap();
        Some(Disk { mount })
    }

    fn filler(&self) -> PathBuf {
        self.mount.0.join("filler")
    }

    /// Not a byte is left.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for bytes in [1 << 20, 4 << 10, 1] {
            let chunk = vec![0; bytes];
            while file.write_all(&chunk).is_ok() {}
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Lazily: Postgres may still have files open.
fn unmount(at: &Path) {
    if !Command::new("umount").arg("-l").arg(at).status().is_ok_and(|status| status.success()) {
        eprintln!("{} stays mounted", at.display());
    }
}
