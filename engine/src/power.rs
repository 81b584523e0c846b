//! Whether the machine runs on its battery: then a reading, which nobody waits for, waits itself.
//!
//! In: what Linux says of power supplies in `/sys/class/power_supply` (Documentation/ABI/testing/sysfs-class-power). Out: yes, if a
//! battery of the machine is being used up and nothing feeds it. On other systems, and where nothing is said: no.

use std::path::{Path, PathBuf};

/// Where power supplies are described; without such a place nothing is known, and nothing waits.
#[derive(Debug, Clone, Default)]
pub struct Power {
    supplies: Option<PathBuf>,
}

impl Power {
    /// Those of this machine.
    pub fn of_this_machine() -> Power {
        Power::described_in("/sys/class/power_supply")
    }

    /// Power supplies described in this folder.
    pub fn described_in(supplies: impl Into<PathBuf>) -> Power {
        Power {
            supplies: Some(supplies.into()),
        }
    }

    /// Whether the battery is used up now. Cost: a few small files.
    pub fn is_on_battery(&self) -> bool {
        let Some(Ok(supplies)) = self.supplies.as_ref().map(std::fs::read_dir) else {
            return false;
        };
        let mut discharging = false;
        for supply in supplies.flatten() {
            let says = |name: &str| said(&supply.path(), name);
            match says("type").as_str() {
                // A mouse has one, too.
                "Battery" if says("scope") != "Device" => {
                    discharging |= says("status") == "Discharging";
                }
                "Mains" | "USB" if says("online") == "1" => return false,
                _ => {}
            }
        }
        discharging
    }
}

/// One line that a supply says of itself; empty if it does not.
fn said(supply: &Path, name: &str) -> String {
    std::fs::read_to_string(supply.join(name)).map_or(String::new(), |line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn supply(folder: &Path, name: &str, says: &[(&str, &str)]) {
        fs::create_dir_all(folder.join(name)).unwrap();
        for (file, line) in says {
            fs::write(folder.join(name).join(file), format!("{line}\n")).unwrap();
        }
    }

    #[test]
    fn a_battery_that_nothing_feeds_is_used_up() {
        let folder = tempfile::tempdir().unwrap();
        let power = Power::described_in(folder.path());
        assert!(!power.is_on_battery());
        let mouse = [
            ("type", "Battery"),
            ("scope", "Device"),
            ("status", "Discharging"),
        ];
        supply(folder.path(), "hidpp_battery_0", &mouse);
        assert!(!power.is_on_battery());
        supply(
            folder.path(),
            "BAT0",
            &[("type", "Battery"), ("status", "Full")],
        );
        assert!(!power.is_on_battery());
        supply(folder.path(), "BAT0", &[("status", "Discharging")]);
        assert!(power.is_on_battery());
        supply(folder.path(), "AC", &[("type", "Mains"), ("online", "0")]);
        assert!(power.is_on_battery());
        supply(folder.path(), "AC", &[("online", "1")]);
        assert!(!power.is_on_battery());
        assert!(!Power::described_in(folder.path().join("none")).is_on_battery());
        assert!(!Power::default().is_on_battery());
    }
}
