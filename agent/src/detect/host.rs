//! What the system says of itself.
//!
//! In: files below `/proc`, and for what the agent was built. Out: resource attributes of the host and the container.
//! Left out on purpose: `process.…`: the agent's own says nothing of the service; and clouds, whose metadata is a request away.
//! Source: OpenTelemetry semantic conventions 1.x, `host`, `os` and `container`.

use crate::config::Detector;

/// What is known of the place the agent runs in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    name: Option<String>,
    container: Option<String>,
}

/// Hexadecimal digits of a container's id, with every runtime.
const CONTAINER_ID: usize = 64;

impl Host {
    /// As the system says now.
    pub fn of_process() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            name: Some(read("/proc/sys/kernel/hostname").trim().to_owned()).filter(|name| !name.is_empty()),
            container: container(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo")),
        }
    }

    /// The attributes that `detectors` ask for and that are known.
    pub fn attributes(&self, detectors: &[Detector]) -> Vec<(String, String)> {
        let attributes = detectors.iter().flat_map(|detector| match detector {
            Detector::Host => vec![("host.name", self.name.clone())],
            Detector::Os => vec![
                ("os.type", Some(os_type(std::env::consts::OS).to_owned())),
                ("host.arch", Some(arch(std::env::consts::ARCH).to_owned())),
            ],
            Detector::Container => vec![("container.id", self.container.clone())],
        });
        attributes
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect()
    }
}

fn os_type(rust: &str) -> &str {
    match rust {
        "macos" => "darwin",
        "dragonfly" => "dragonflybsd",
        same => same,
    }
}

fn arch(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc" => "ppc32",
        "powerpc64" => "ppc64",
        same => same,
    }
}

/// The container's id: with cgroup v1 the last part of a path in `/proc/self/cgroup`, with v2, where that says `/`, in the path
/// from which the runtime mounts `hostname`.
fn container(cgroup: &str, mountinfo: &str) -> Option<String> {
    let in_cgroup = cgroup.lines().filter_map(|line| line.rsplit(['/', ':']).next());
    let in_mounts = mountinfo
        .lines()
        .filter(|line| line.contains("/hostname "))
        .flat_map(|line| line.split('/'));
    in_cgroup
        .chain(in_mounts)
        .find_map(|part| container_id(part).map(str::to_owned))
}

/// Of `docker-ID.scope`, `cri-containerd-ID` and the like, or `ID`.
fn container_id(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit(['-', ':']).next().unwrap_or(part);
    let is_id = id.len() == CONTAINER_ID && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "34dc0b5e626f2c5c4c5170e34b10e7654ce36f0fcd532739f4445baabea03376";

    #[test]
    fn a_container_is_found_with_both_kinds_of_cgroup_and_nothing_else_passes_for_one() {
        for cgroup in [
            format!("12:cpu:/docker/{ID}\n0::/"),
            format!("1:name=systemd:/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("0::/kubepods/besteffort/pod1/{ID}"),
        ] {
            assert_eq!(container(&cgroup, "").as_deref(), Some(ID), "{cgroup}");
        }
        let mounts = format!(
            "604 581 0:52 / /proc rw - proc proc rw\n\
             610 581 254:1 /docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/vda1 rw"
        );
        assert_eq!(container("0::/", &mounts).as_deref(), Some(ID));
        let layer = format!("605 581 0:53 /overlay2/{ID}/merged /data rw - ext4 /dev/vda1 rw");
        for (cgroup, mounts) in [
            ("0::/user.slice/session-2.scope", ""),
            ("", ""),
            ("0::/", layer.as_str()),
        ] {
            assert_eq!(container(cgroup, mounts), None, "{cgroup} {mounts}");
        }
    }

    #[test]
    fn attributes_are_those_that_are_asked_for_and_known() {
        let host = Host {
            name: Some("node-7".to_owned()),
            container: None,
        };
        let keys = |detectors: &[Detector]| -> Vec<String> {
            host.attributes(detectors)
                .into_iter()
                .map(|(key, _)| key)
                .collect()
        };
        assert_eq!(keys(&[]), [""; 0]);
        assert_eq!(keys(&[Detector::Host, Detector::Container]), ["host.name"]);
        assert_eq!(keys(&[Detector::Os]), ["os.type", "host.arch"]);
        assert_eq!(
            (os_type("linux"), os_type("macos"), arch("x86_64"), arch("s390x")),
            ("linux", "darwin", "amd64", "s390x")
        );
    }
}
