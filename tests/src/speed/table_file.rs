//! Tables of many EIPs: as the file that `eip-dp apply` reads, and applied, kept for the next run.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    net::IpAddr,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    plan::{POOL4, POOL6, VPC4, VPC6, eip, eni_mac, private},
    shape::{Family, Mode, Shape},
    site::port,
};

/// ENIs of an instance in cut-through mode.
const ENIS_OF_INSTANCE: u32 = 16;

/// EIPs that a table has besides, associated with nothing, and ENIs with as many private addresses
/// without one.
#[derive(Clone, Copy, Debug)]
pub struct Spare(pub u32);

/// The ENI and the private address that wait for an EIP with a number beyond the shape's, in the
/// first VPC.
pub fn spare(shape: &Shape, number: u32) -> (String, IpAddr) {
    let member = number - shape.eips + shape.members();
    let eni = shape.enis() / shape.vpcs + ((number - shape.eips) >> shape.eni_bits());
    (format!("n0-{eni}"), private(shape.family, member))
}

/// Writes a table file that associates spare EIPs.
pub fn write_delta(shape: &Shape, numbers: Range<u32>, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::new(file);
    for number in numbers {
        let (eni, address) = spare(shape, number);
        writeln!(
            out,
            "[[association]]\neip = \"e{number}\"\neni = \"{eni}\"\nprivate_ip = \"{address}\"\nmode = \"nat\""
        )?;
    }
    Ok(out.flush()?)
}

/// Writes the table file.
fn write(shape: &Shape, spare_eips: Spare, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::new(file);
    let (pool, cidr) = match shape.family {
        Family::V4 => (POOL4, VPC4),
        Family::V6 => (POOL6, VPC6),
    };
    writeln!(out, "[[pool]]\ncidr = \"{pool}\"\ngateway = \"none\"")?;
    let bits = shape.eni_bits();
    let enis = shape.enis() / shape.vpcs;
    for vpc in 0..shape.vpcs {
        writeln!(out, "[[vpc]]\nid = \"v{vpc}\"\ncidrs = [\"{cidr}\"]")?;
        let instances = match shape.mode {
            Mode::Nat => enis,
            Mode::CutThrough => enis.div_ceil(ENIS_OF_INSTANCE),
        };
        for instance in 0..instances {
            writeln!(out, "[[instance]]\nid = \"i{vpc}-{instance}\"")?;
        }
        for eni in 0..enis {
            let instance = match shape.mode {
                Mode::Nat => eni,
                Mode::CutThrough => eni / ENIS_OF_INSTANCE,
            };
            let members = (eni << bits)..((eni + 1) << bits).min(shape.members());
            let addresses = members.map(|member| private(shape.family, member));
            write_eni(&mut out, vpc, eni, instance, addresses)?;
        }
    }
    let spares: Vec<u32> = (shape.eips..shape.eips + spare_eips.0).collect();
    for (eni, numbers) in (enis..).zip(spares.chunks(1 << bits)) {
        let addresses = numbers.iter().map(|number| spare(shape, *number).1);
        write_eni(&mut out, 0, eni, 0, addresses)?;
    }
    for number in &spares {
        let address = eip(shape.family, *number);
        writeln!(out, "[[eip]]\nid = \"e{number}\"\naddress = \"{address}\"")?;
    }
    let mode = match shape.mode {
        Mode::Nat => "nat",
        Mode::CutThrough => "cut-through",
    };
    for number in 0..shape.eips {
        let (vpc, member) = (number % shape.vpcs, number / shape.vpcs);
        writeln!(
            out,
            "[[eip]]\nid = \"e{number}\"\naddress = \"{}\"\nstate = \"associated\"\n\
             [[association]]\neip = \"e{number}\"\neni = \"n{vpc}-{}\"\nprivate_ip = \"{}\"\nmode = \"{mode}\"",
            eip(shape.family, number),
            member >> bits,
            private(shape.family, member)
        )?;
    }
    Ok(out.flush()?)
}

fn write_eni(
    out: &mut impl Write,
    vpc: u32,
    eni: u32,
    instance: u32,
    addresses: impl Iterator<Item = IpAddr>,
) -> Result<()> {
    let addresses: Vec<String> = addresses.map(|address| format!("\"{address}\"")).collect();
    writeln!(
        out,
        "[[eni]]\nid = \"n{vpc}-{eni}\"\nvpc = \"v{vpc}\"\nkind = \"secondary\"\nmac = \"{}\"\nprivate_ips = [{}]\n\
         state = \"attached\"\ninstance = \"i{vpc}-{instance}\"\nport = \"{}\"",
        eni_mac(vpc, eni),
        addresses.join(", "),
        port(vpc)
    )?;
    Ok(())
}

/// A table in the product's own form, and how long that took if it was made now.
pub struct Applied {
    /// The database.
    pub path: PathBuf,
    /// How long `eip-dp apply` took.
    pub took: Option<Duration>,
}

/// Gives the applied table, made anew if it is not in `cache` or `program` does not read it.
pub fn applied(shape: &Shape, spare: Spare, cache: &Path, program: &Path) -> Result<Applied> {
    fs::create_dir_all(cache)?;
    let mut name = shape.name().replace(' ', "-");
    if spare.0 > 0 {
        name += "-and-";
        name += &spare.0.to_string();
    }
    let path = cache.join(format!("{name}.db"));
    if path.exists() {
        let reads = eip_dp(program, &path, &["pool", "list"])?;
        if reads {
            return Ok(Applied { path, took: None });
        }
        remove(&path);
    }
    let file = cache.join(format!("{name}.toml"));
    write(shape, spare, &file)?;
    let new = cache.join(format!("{name}.new.db"));
    remove(&new);
    let begun = Instant::now();
    let done = eip_dp(program, &new, &["apply", "-f", &file.to_string_lossy()])?;
    let took = begun.elapsed();
    fs::remove_file(&file)?;
    ensure!(done, "`eip-dp apply` refuses the table {}", shape.name());
    fs::rename(&new, &path)?;
    remove(&new);
    Ok(Applied {
        path,
        took: Some(took),
    })
}

/// Removes a database with what SQLite keeps beside it.
fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // What is not there need not go.
        let _ = fs::remove_file(name);
    }
}

/// Runs the command over a table, its output thrown away; whether it succeeded.
fn eip_dp(program: &Path, table: &Path, arguments: &[&str]) -> Result<bool> {
    let status = Command::new(program)
        .arg("--table")
        .arg(format!("sqlite:{}", table.display()))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(status.success())
}
