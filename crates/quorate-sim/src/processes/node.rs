//! One server process, and what can be done to it from outside: killed, stopped, robbed of its
//! data, of space, of descriptors, or of the right time.

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// Bytes of a disk that can be filled: some segments of a log and of hints.
const DISK_BYTES: u64 = 256 << 20;

/// What a full disk has left: enough for small files, too little for a segment.
const LEFT_BYTES: u64 = 1 << 20;

/// Zeros in which a record of a log may end, more than any that clients of an attack make.
const RECORD_ZEROS_MAX: usize = 4_096;

/// Descriptors that a process may open beyond those that it has, when it is to run out of them.
const DESCRIPTORS_LEFT: u64 = 2;

/// Lines of a log in which a process that ends says why.
const LAST_LINES: usize = 4;

/// Clients that connect and say nothing while descriptors are scarce.
const IDLE_CLIENTS: usize = 40;

/// How a node is set up, for what is to be done to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    /// Whether its data is on a small disk of its own.
    pub(super) small_disk: bool,
    /// The library that shows it another time.
    pub(super) fake_clock: Option<PathBuf>,
    /// Whether its data is copied before every start.
    pub(super) copies: bool,
}

/// One server process.
pub(super) struct Node {
    arguments: Vec<String>,
    /// Holds its log, and what belongs to it besides its data.
    directory: PathBuf,
    pub(super) client_address: SocketAddr,
    child: Option<Child>,
    disk: Option<SmallDisk>,
    fake_clock: Option<PathBuf>,
    skew_ms: i64,
    idle: Vec<TcpStream>,
    /// How many copies of its data there are, when they are kept.
    copies: Option<usize>,
}

impl Node {
    /// A node that keeps everything in `directory`; `arguments` are those of the program but for
    /// where the data is. It is not started.
    pub(super) fn new(
        mut arguments: Vec<String>,
        directory: PathBuf,
        client_address: SocketAddr,
        setup: &Setup,
    ) -> io::Result<Self> {
        let data = directory.join("data");
        fs::create_dir_all(&data)?;
        let disk = if setup.small_disk { Some(SmallDisk::mount(&data)?) } else { None };
        arguments.extend(["--data-dir".to_owned(), data.join("node").display().to_string()]);
        let node = Self {
            arguments,
            directory,
            client_address,
            child: None,
            disk,
            fake_clock: setup.fake_clock.clone(),
            skew_ms: 0,
            idle: Vec::new(),
            copies: setup.copies.then_some(0),
        };
        node.show_time()?;
        Ok(node)
    }

    pub(super) fn start(&mut self, binary: &Path) -> io::Result<()> {
        self.keep_copy()?;
        let log = self.directory.join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(binary);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(library) = &self.fake_clock {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
            // Timers go by the monotonic clock, which nobody sets.
            command.env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.env("FAKETIME_CACHE_DURATION", "1");
        }
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Starts the process unless it runs. What does not start is found when the replicas are
    /// compared.
    pub(super) fn start_again(&mut self, binary: &Path) {
        if self.child.is_none() {
            let _ = self.start(binary);
        }
    }

    /// Fails when the process has ended by itself, with what it logged.
    pub(super) fn check_running(&mut self) -> io::Result<()> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        let Some(status) = ended else { return Ok(()) };
        let log = self.log()?;
        Err(io::Error::other(format!("a process ended with {status}:\n{log}")))
    }

    pub(super) fn is_down(&self) -> bool {
        self.child.is_none()
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which shows in its log.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the process to end, and waits for that. Returns how long it took.
    pub(super) fn stop(&mut self, patience: Duration) -> io::Result<Duration> {
        let begin = Instant::now();
        self.signal(Signal::TERM);
        let Some(child) = &mut self.child else { return Ok(Duration::ZERO) };
        while child.try_wait()?.is_none() {
            if begin.elapsed() > patience {
                return Err(io::Error::other("a process does not end when it is asked to"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.child = None;
        Ok(begin.elapsed())
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // A process that has ended takes no signal.
            let _ = kill_process(pid, signal);
        }
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What its processes have logged.
    pub(super) fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.directory.join("log"))
    }

    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().and_then(|child| Pid::from_raw(child.id().cast_signed()))
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data/node")
    }

    fn copy_number(&self, number: usize) -> PathBuf {
        self.directory.join(format!("copy-{number}"))
    }

    fn keep_copy(&mut self) -> io::Result<()> {
        if let Some(copies) = self.copies
            && self.data().exists()
        {
            copy(&self.data(), &self.copy_number(copies))?;
            self.copies = Some(copies + 1);
        }
        Ok(())
    }

    /// Puts back the copy of the data that was made so many starts ago, or the oldest one.
    pub(super) fn put_back(&self, starts: usize) -> io::Result<()> {
        let Some(last) = self.copies.and_then(|copies| copies.checked_sub(1)) else {
            return Ok(());
        };
        fs::remove_dir_all(self.data())?;
        copy(&self.copy_number((last + 1).saturating_sub(starts)), &self.data())
    }

    /// Does what a process that was fenced asks its operator for: starts it without its data.
    pub(super) fn replace_fenced(&mut self, binary: &Path) -> io::Result<()> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        if ended.is_none() || self.copies.is_none() {
            return Ok(());
        }
        let log = self.log()?;
        if log.lines().rev().take(LAST_LINES).any(|line| line.contains("this node must not go on"))
        {
            self.kill();
            self.wipe(true)?;
            self.start_again(binary);
        }
        Ok(())
    }

    /// Deletes the data of a process that does not run: all of it, or all but its identity.
    pub(super) fn wipe(&self, identity_too: bool) -> io::Result<()> {
        let data = self.data();
        if identity_too {
            return fs::remove_dir_all(data);
        }
        for entry in fs::read_dir(data)? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    /// Deletes what a process that does not run keeps for others.
    pub(super) fn forget_hints(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.data())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("hints-") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Fills the disk under a process that does not run, or makes room again.
    pub(super) fn fill_disk(&self, full: bool) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        if full {
            // What the last process took in advance would be room for the next one.
            self.trim_logs()?;
        }
        disk.fill(full)
    }

    fn trim_logs(&self) -> io::Result<()> {
        for folder in fs::read_dir(self.data())?.flatten() {
            let Ok(files) = fs::read_dir(folder.path()) else { continue };
            for file in files.flatten().filter(|file| file.path().is_file()) {
                let contents = fs::read(file.path())?;
                let used = contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                // The last record may end in zeros.
                let kept = contents.len().min(used + RECORD_ZEROS_MAX);
                fs::File::options().write(true).open(file.path())?.set_len(kept as u64)?;
            }
        }
        Ok(())
    }

    /// Leaves the process hardly a descriptor, and has idle clients ask for more; or ends that.
    pub(super) fn starve(&mut self, scarce: bool) -> io::Result<()> {
        self.idle.clear();
        let Some(pid) = self.pid() else { return Ok(()) };
        let unchanged = rustix::process::getrlimit(Resource::Nofile);
        let used = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?.count() as u64;
        let maximum = unchanged.maximum;
        let current = if scarce { Some(used + DESCRIPTORS_LEFT) } else { maximum };
        prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum })?;
        if scarce {
            let clients = (0..IDLE_CLIENTS).map(|_| TcpStream::connect(self.client_address));
            self.idle.extend(clients.flatten());
        }
        Ok(())
    }

    /// Sets the wall clock ahead of what it showed, or back.
    pub(super) fn skew(&mut self, ms: i64) -> io::Result<()> {
        self.skew_ms += ms;
        self.show_time()
    }

    fn clock_file(&self) -> PathBuf {
        self.directory.join("clock")
    }

    fn show_time(&self) -> io::Result<()> {
        if self.fake_clock.is_none() {
            return Ok(());
        }
        // Replaced as a whole: it is read at any moment.
        let text = format!("{:+.3}\n", self.skew_ms as f64 / 1e3);
        let new = self.directory.join("clock.new");
        fs::write(&new, text)?;
        fs::rename(new, self.clock_file())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A file system in memory, of which it is known how much it holds. Unmounted when dropped.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn mount(at: &Path) -> io::Result<Self> {
        let size = format!("size={DISK_BYTES}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "quorate-attack"]).arg(at))?;
        Ok(Self { at: at.to_owned() })
    }

    fn fill(&self, full: bool) -> io::Result<()> {
        let filler = self.at.join("filler");
        if !full {
            // Of two faults at a time the first one to end makes room.
            return fs::remove_file(filler).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            });
        }
        let mut file = fs::File::create(&filler)?;
        let chunk = vec![1; 64 << 10];
        let mut written = 0_u64;
        loop {
            match file.write(&chunk) {
                Ok(bytes) => written += bytes as u64,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
        file.set_len(written.saturating_sub(LEFT_BYTES))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left mounted shows in the next listing of mounts.
        let _ = run(Command::new("umount").arg(&self.at));
    }
}

/// Copies a folder, without writing the zeros that logs take in advance.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    run(Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to))
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    let failed = || io::Error::other(format!("{command:?} failed with {status}"));
    status.success().then_some(()).ok_or_else(failed)
}
