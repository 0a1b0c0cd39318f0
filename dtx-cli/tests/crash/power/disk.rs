//! A disk whose power can be cut: an image with a file system on a loop device.
//!
//! The image lies on a file system of its own, also on a loop device, which is frozen while the
//! image is copied. So the copy is what the block device had at one moment: every write that was
//! handed to it, and none that still waited in the page cache of the file system under test.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long a file system may be busy after its processes were killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much larger than the disk the file system is that its image lies on.
const UNDER_BYTES: u64 = 48 << 20;

fn tool(name: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} {}: {}", arguments.join(" "), said.trim()))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names of text")
}

/// A file system on a loop device, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| format!("{}: {error}", at.display()))?;
        tool("mount", &["-o", "loop", text(image), text(at)])?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Busy only for as long as killed processes take to go away.
        let end = Instant::now() + PATIENCE;
        let is_left = || tool("umount", &[text(&self.0)]).is_err();
        while is_left() {
            if Instant::now() < end {
                continue;
            }
            eprintln!("{} is left mounted", self.0.display());
            return;
        }
    }
}

fn format(image: &Path, bytes: u64) -> Result<(), String> {
    let file = File::create(image).and_then(|file| file.set_len(bytes));
    file.map_err(|error| format!("{}: {error}", image.display()))?;
    tool("mkfs.ext4", &["-q", "-F", "-m", "0", text(image)])
}

/// A disk with a file system on it.
pub(crate) struct Disk {
    folder: PathBuf,
    // Dropped in this order.
    disk: Mounted,
    under: Mounted,
}

impl Disk {
    /// A new disk; an error where that needs rights or tools that are not there.
    pub(crate) fn new(folder: &Path, bytes: u64) -> Result<Self, String> {
        let under = folder.join("under.img");
        format(&under, bytes + UNDER_BYTES)?;
        let under = Mounted::new(&under, &folder.join("under"))?;
        let image = under.0.join("disk.img");
        format(&image, bytes)?;
        let disk = Mounted::new(&image, &folder.join("disk"))?;
        Ok(Self { folder: folder.to_owned(), disk, under })
    }

    /// The file system of the disk.
    pub(crate) fn path(&self) -> &Path {
        &self.disk.0
    }

    /// Copies what the block device has now, does something while it can take no further write,
    /// and lets it go on.
    pub(crate) fn snapshot(&self, frozen: impl FnOnce()) -> Result<Snapshot, String> {
        let copy = self.folder.join("snapshot.img");
        tool("fsfreeze", &["--freeze", text(&self.under.0)])?;
        let copied = fs::copy(self.under.0.join("disk.img"), &copy);
        frozen();
        tool("fsfreeze", &["--unfreeze", text(&self.under.0)])?;
        copied.map_err(|error| format!("{}: {error}", copy.display()))?;
        Ok(Snapshot { copy, at: self.folder.join("after") })
    }
}

/// What a disk had at one moment.
pub(crate) struct Snapshot {
    copy: PathBuf,
    at: PathBuf,
}

/// A disk after the power came back.
pub(crate) struct Restarted(Mounted);

impl Snapshot {
    /// Mounts it, by which the file system replays its journal.
    pub(crate) fn mount(&self) -> Result<Restarted, String> {
        Mounted::new(&self.copy, &self.at).map(Restarted)
    }
}

impl Restarted {
    /// The file system of the disk.
    pub(crate) fn path(&self) -> &Path {
        &self.0.0
    }
}
