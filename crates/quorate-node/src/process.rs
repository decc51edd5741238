//! What the operating system knows of this process. Where it does not tell, metrics are zero.

use std::fs;

/// Clock ticks a second in the files of Linux, whatever the kernel's own are.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory and processor time of the process, and memory of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Bytes in RAM, now and at most since the start.
    pub(crate) resident_bytes: u64,
    pub(crate) resident_bytes_max: u64,
    /// Bytes of RAM that the machine has.
    pub(crate) machine_bytes: u64,
    /// Seconds of processor time, in the kernel and outside of it.
    pub(crate) system_seconds: f64,
    pub(crate) user_seconds: f64,
    /// Those of processes that it has started.
    pub(crate) children_system_seconds: f64,
    pub(crate) children_user_seconds: f64,
}

/// Bytes of RAM that the process takes.
pub fn resident_bytes() -> u64 {
    kilobytes(&fs::read_to_string("/proc/self/status").unwrap_or_default(), "VmRSS:")
}

impl Process {
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let mut process = Self {
            resident_bytes: kilobytes(&status, "VmRSS:"),
            resident_bytes_max: kilobytes(&status, "VmHWM:"),
            machine_bytes: kilobytes(&text("/proc/meminfo"), "MemTotal:"),
            ..Self::default()
        };
        process.read_times(&text("/proc/self/stat"));
        process
    }

    fn read_times(&mut self, stat: &str) {
        // The name of the program stands in brackets, and may have spaces and brackets itself.
        let Some((_, fields)) = stat.rsplit_once(") ") else { return };
        let seconds: Vec<f64> = fields
            .split(' ')
            .skip(11)
            .take(4)
            .map(|ticks| ticks.parse::<f64>().unwrap_or_default() / TICKS_PER_SECOND)
            .collect();
        if let [user, system, children_user, children_system] = seconds[..] {
            self.user_seconds = user;
            self.system_seconds = system;
            self.children_user_seconds = children_user;
            self.children_system_seconds = children_system;
        }
    }
}

/// The value of a line such as `VmRSS:  1234 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n", "VmRSS:"), 1234 * 1024);
        assert_eq!(kilobytes("", "VmRSS:"), 0);
        let mut process = Process::default();
        process.read_times("7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 250 75 5 6 20 0 3 0");
        assert_eq!((process.user_seconds, process.system_seconds), (2.5, 0.75));
        assert_eq!((process.children_user_seconds, process.children_system_seconds), (0.05, 0.06));
        assert!(Process::read().resident_bytes > 0);
    }
}
