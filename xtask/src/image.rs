//! `cargo xtask proof image`: the image as it would be published, built twice in different places.
//!
//! In: this commit; cargo-cyclonedx, umoci, and what `tests/image` needs. Out: `docs/proofs/image.md` where both builds gave the same
//! image and the tests passed on it; the archive and its SBOM below the first tree's build.
//! Left out on purpose: `linux/arm64`, which needs a standard library that rustup fetches; the Dockerfile, for want of an engine.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::{Failure, output, page, root};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/image.md";

/// Where the trees lie unless told otherwise: two paths of different length.
const TREES: [&str; 2] = ["target/image/a", "target/image/another"];

/// Arguments of `cargo xtask proof image`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where a copy of this commit is built; given twice. What is there from before is brought to this commit and goes on
    #[arg(long, value_name = "DIR", num_args = 1)]
    tree: Vec<PathBuf>,
}

/// What one tree gave.
struct Built {
    archive: PathBuf,
    digest: String,
    /// Of the program, of the SBOM, of the archive: bytes.
    sizes: [u64; 3],
    seconds: u64,
}

/// Builds twice, compares, tests, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let trees: Vec<PathBuf> = match args.tree.len() {
        0 => TREES.iter().map(|tree| root().join(tree)).collect(),
        2 => args.tree.clone(),
        others => return Err(format!("`--tree` is given {others} times: an image is built twice").into()),
    };
    let built: Vec<Built> = trees.iter().map(|tree| build(tree)).collect::<Result<_, _>>()?;
    let [one, other] = &built[..] else {
        return Err("two trees gave something else than two images".into());
    };
    if one.digest != other.digest {
        println!("{} and {} differ", one.archive.display(), other.archive.display());
        return Ok(ExitCode::from(1));
    }
    // With the profile that this command was built with, whose crates are there.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let status = Command::new("cargo")
        .current_dir(root())
        .args(["test", "--profile", profile])
        .args("--locked --package tracemap --test image -- --include-ignored".split(' '))
        .env("TRACEMAP_IMAGE", &one.archive)
        .status()
        .map_err(|error| format!("cannot run `cargo`: {error}"))?;
    if !status.success() {
        return Ok(ExitCode::from(1));
    }
    page::write(REPORT, &report(one, other)?)?;
    Ok(ExitCode::SUCCESS)
}

fn build(tree: &Path) -> Result<Built, Failure> {
    let began = Instant::now();
    bring(tree)?;
    let tree = tree.canonicalize()?;
    let mut target = tree.clone().into_os_string();
    target.push("-target");
    let target = PathBuf::from(target);
    let script = |name: &str| {
        let mut command = Command::new("bash");
        command
            .arg(tree.join("deploy/image").join(name))
            .env_remove("CARGO_TARGET_DIR");
        command
    };
    println!("building in {}", tree.display());
    let program = String::from_utf8(output(script("build.sh").arg(&target))?)?;
    let program = PathBuf::from(program.trim());
    let archive = target.join("tracemap.tar");
    let sbom = archive.with_extension("cdx.json");
    output(script("sbom.sh").arg(&sbom))?;
    let digest = output(script("oci.sh").args([&program, &archive, &sbom]))?;
    let size = |path: &Path| std::fs::metadata(path).map(|found| found.len());
    Ok(Built {
        sizes: [size(&program)?, size(&sbom)?, size(&archive)?],
        digest: String::from_utf8(digest)?.trim().to_owned(),
        seconds: began.elapsed().as_secs(),
        archive,
    })
}

/// This commit, in a tree of its own.
fn bring(tree: &Path) -> Result<(), Failure> {
    let git = |args: &[&str]| output(Command::new("git").args(args));
    let (here, there) = (root().display().to_string(), tree.display().to_string());
    if !tree.join(".git").exists() {
        git(&["clone", "--quiet", "--no-checkout", &here, &there])?;
    }
    git(&["-C", &there, "fetch", "--quiet", &here, "HEAD"])?;
    git(&["-C", &there, "checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
    Ok(())
}

fn report(one: &Built, other: &Built) -> Result<String, Failure> {
    let head = page::head(
        "The image",
        "a build of the image depends on the commit alone; what is in it runs as a container without a shell, privilege or a writable \
         root file system, finds names by DNS and trusts by its own authorities",
        "cargo xtask proof image",
    )?;
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let compiler = String::from_utf8(output(Command::new("rustc").arg("--version"))?)?;
    let library = String::from_utf8(output(Command::new("ldd").arg("--version"))?)?;
    let [program, sbom, archive] = one.sizes.map(mib);
    let (digest, compiler) = (&one.digest, compiler.trim());
    let library = library.lines().next().unwrap_or_default();
    Ok(format!(
        "{head}Two copies of the commit in directories of different names, each with a build of its own ({} s and {} s, beside other work), \
         gave\n\n```text\n{digest}\n```\n\n\
         | what | size |\n|---|---:|\n| the program, static and stripped, with allocator and glibc | {program} |\n\
         | the list of crates (CycloneDX 1.5) | {sbom} |\n| the archive, compressed | {archive} |\n\n\
         Compiler: {compiler}. C library linked in: {library}. Authorities: those of Debian's package `ca-certificates` on the same \
         machine.\n\nOn that archive all tests of `tests/image` passed: its files, owners and modes are the listed ones; `runc` starts it \
         as 65532 without capabilities; a TLS collector is found by DNS; and `deploy/compose` with it, Prometheus and Alertmanager is \
         provisioned end to end.\n\n{LIMITS}",
        one.seconds, other.seconds
    ))
}

const LIMITS: &str = "\
## Why static, and why glibc

A static program needs no loader and no libraries beside it, so the image has nothing to patch but the program and the authorities. glibc
from 2.34 on has the resolution of names by files and DNS within itself, which is all that a container uses; `nsswitch.conf` of the image
says so. What a static glibc lacks are other sources of names and converters of character sets, which nothing here asks for. musl, the
usual way, would need a standard library that was not at hand, and a look at what its allocator and resolver cost. The other way, libraries
of Debian beside a program that is not static, is what the tests on every change pack.

## What this does not show

- Another machine: compiler, C library, linker and authorities were those of one. The Dockerfile pins them by the tag of its builder.
- `linux/arm64`, and the Dockerfile: no engine and no standard library for that processor were at hand. The Dockerfile calls the
  same scripts.
- Another `CARGO_HOME`: its path is taken out of the program, and was the same for both.
";
