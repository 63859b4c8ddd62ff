//! Arguments that cannot be meant: what is wrong with a command whatever the table holds.

use std::{collections::BTreeMap, net::IpAddr};

use eip_dp_common::abi::MAX_CIDRS;
use ipnet::IpNet;

use super::{
    Document, Vlan,
    command::{Command, Unacceptable},
    objects::{
        Association, DEFAULT_PRIORITY, Eni, EniKind, EniState, Instance, Mac, Pool, PoolGateway,
        Rebind, Vpc,
    },
};

type Checked = Result<(), Unacceptable>;

const MAX_ID: usize = 64;
/// How many reserved ranges a pool has.
const MAX_RANGES: usize = 128;
/// `ALTIFNAMSIZ` of the kernel, without the closing zero: an interface may have alternative names,
/// which are longer than those of `IFNAMSIZ`.
pub const MAX_NAME: usize = 127;

macro_rules! invalid {
    ($($text:tt)+) => { return Err(Unacceptable(format!($($text)+))) };
}

impl Command {
    /// Refuses arguments that cannot be meant. Every writer asks before the rules. Ids are looked
    /// at where they are given: an object that was written past the rules has to be named to be
    /// deleted.
    pub fn check(&self) -> Checked {
        match self {
            Self::PoolCreate(pool) => check_pool(pool),
            Self::PoolDelete { cidr } => check_cidr("pool", cidr),
            Self::PoolSet {
                cidr,
                gateway,
                reserve,
                ..
            } => check_pool(&Pool {
                cidr: *cidr,
                gateway: gateway.and_then(|gateway| gateway.0),
                reserve: reserve.clone().unwrap_or_default(),
                priority: DEFAULT_PRIORITY,
            }),
            Self::VpcSet {
                id,
                add,
                remove,
                gateway,
                vni,
            } => {
                let mut cidrs = add.iter().chain(remove);
                cidrs.try_for_each(|cidr| check_cidr("CIDR", cidr))?;
                check_vni(id, vni.and_then(|vni| vni.0))?;
                check_gateway(gateway.and_then(|gateway| gateway.0))
            }
            Self::InstanceSet { id, max_enis } => {
                check_max_enis(id, max_enis.and_then(|max| max.0))
            }
            Self::EniSet {
                id, mac, region, ..
            } => {
                check_region(region.as_ref().and_then(|region| region.0.as_deref()))?;
                mac.map_or(Ok(()), |mac| check_mac(id, mac))
            }
            Self::VpcCreate(vpc) => check_vpc(vpc),
            Self::InstanceCreate(instance) => check_instance(instance),
            Self::EniCreate(spec) => {
                check_id("ENI", &spec.id)?;
                check_region(spec.region.as_deref())?;
                check_mac(&spec.id, spec.mac)?;
                check_private_ips(&spec.id, &spec.private_ips)
            }
            Self::EniAttach { id, port, vlan, .. } => check_port(id, port, *vlan),
            Self::EniAddIp { address, .. } => check_address("private IP", *address),
            Self::EipCreate(spec) => {
                check_id("EIP", &spec.id)?;
                check_region(spec.region.as_deref())?;
                if let Some(pool) = &spec.pool {
                    check_cidr("pool", pool)?;
                }
                spec.address
                    .map_or(Ok(()), |ip| check_address("EIP address", ip))
            }
            Self::VpcDelete { .. }
            | Self::InstanceDelete { .. }
            | Self::EniDetach { .. }
            | Self::EniRemoveIp { .. }
            | Self::EniDelete { .. }
            | Self::EniBind { .. }
            | Self::EipSet { .. }
            | Self::EipRelease { .. }
            | Self::Associate { .. }
            | Self::Disassociate { .. }
            | Self::Expire => Ok(()),
            Self::Apply { document, .. } => check_document(document),
        }
    }
}

fn check_document(document: &Document) -> Checked {
    document.pools.iter().try_for_each(check_pool)?;
    document.vpcs.iter().try_for_each(check_vpc)?;
    document.instances.iter().try_for_each(check_instance)?;
    document.enis.iter().try_for_each(check_eni)?;
    for eip in &document.eips {
        check_id("EIP", &eip.id)?;
        check_region(eip.region.as_deref())?;
        check_address("EIP address", eip.address)?;
        if let Some(former) = &eip.former {
            check_id("ENI", &former.eni)?;
        }
    }
    let mut associations = document.associations.iter();
    associations.try_for_each(|Association { eip, eni, .. }| {
        check_id("EIP", eip)?;
        check_id("ENI", eni)
    })
}

fn check_pool(pool: &Pool) -> Checked {
    check_cidr("pool", &pool.cidr)?;
    if pool.reserve.len() > MAX_RANGES {
        invalid!(
            "pool {} has more than {MAX_RANGES} reserved ranges; join some of them",
            pool.cidr
        );
    }
    let mut addresses: Vec<_> = pool
        .reserve
        .iter()
        .flat_map(|one| [one.first, one.last])
        .collect();
    if let Some(PoolGateway::Address(gateway)) = pool.gateway {
        addresses.push(gateway);
    }
    for address in addresses {
        if address.is_ipv4() != pool.cidr.addr().is_ipv4() {
            invalid!(
                "pool {} and the address {address} are of different families; name an address of the pool",
                pool.cidr
            );
        }
    }
    Ok(())
}

fn check_vpc(vpc: &Vpc) -> Checked {
    check_id("VPC", &vpc.id)?;
    let id = &vpc.id;
    if vpc.cidrs.is_empty() {
        invalid!("VPC `{id}` has no CIDR; name one at least");
    }
    let mut families: BTreeMap<bool, u32> = BTreeMap::new();
    for cidr in &vpc.cidrs {
        check_cidr("CIDR", cidr)?;
        let count = families.entry(cidr.addr().is_ipv4()).or_default();
        *count += 1;
        if *count > MAX_CIDRS {
            invalid!(
                "VPC `{id}` has more than {MAX_CIDRS} CIDRs of one family, the last is {cidr}; join some of them"
            );
        }
    }
    check_vni(id, vpc.vni)?;
    check_gateway(vpc.gateway)
}

fn check_vni(id: &str, vni: Option<u32>) -> Checked {
    if let Some(vni) = vni.filter(|vni| *vni == 0 || *vni >= 1 << 24) {
        invalid!("VPC `{id}`: the vni {vni} is not between 1 and 16777215; choose one that is");
    }
    Ok(())
}

fn check_gateway(gateway: Option<IpAddr>) -> Checked {
    gateway.map_or(Ok(()), |ip| check_address("VPC gateway", ip))
}

fn check_instance(instance: &Instance) -> Checked {
    check_id("instance", &instance.id)?;
    check_max_enis(&instance.id, instance.max_enis)
}

fn check_max_enis(id: &str, max_enis: Option<u32>) -> Checked {
    if max_enis == Some(0) {
        invalid!(
            "instance `{id}`: max_enis is 0 and an instance takes one ENI at least; leave it out for no limit"
        );
    }
    Ok(())
}

fn check_eni(eni: &Eni) -> Checked {
    check_id("ENI", &eni.id)?;
    check_id("VPC", &eni.vpc)?;
    check_region(eni.region.as_deref())?;
    check_mac(&eni.id, eni.mac)?;
    check_private_ips(&eni.id, &eni.private_ips)?;
    if eni.kind == EniKind::Primary && eni.state == EniState::Stranded {
        invalid!(
            "ENI `{}` is a primary one and cannot be stranded; leave `state` out",
            eni.id
        );
    }
    if let Some(shared) = eni
        .shared_ips
        .iter()
        .find(|ip| !eni.private_ips.contains(ip))
    {
        invalid!(
            "ENI `{}`: {shared} is in `shared_ips` and not in `private_ips`; name it in both",
            eni.id
        );
    }
    match (&eni.instance, &eni.port) {
        (Some(instance), Some(port)) => {
            check_id("instance", instance)?;
            check_port(&eni.id, port, eni.vlan)
        }
        (None, None) if eni.vlan.is_none() && !eni.force && eni.rebind == Rebind::Name => Ok(()),
        _ => invalid!(
            "ENI `{}` has a part of `instance`, `port`, `vlan`, `force` and `rebind`; give instance and port, or none of them",
            eni.id
        ),
    }
}

fn check_private_ips(id: &str, ips: &[IpAddr]) -> Checked {
    if ips.is_empty() {
        invalid!("ENI `{id}` has no private IP; name one at least");
    }
    ips.iter()
        .try_for_each(|ip| check_address("private IP", *ip))
}

/// Whether `text` can be an id: a single word that a terminal, a log and a file show as it is.
pub fn is_id(text: &str) -> bool {
    let shown = |c: char| !c.is_control() && !c.is_whitespace() && !is_invisible(c);
    !text.is_empty() && text.chars().count() <= MAX_ID && text.chars().all(shown)
}

/// Whether a character only changes how others are shown: an id with one looks like another id.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Whether `name` can be that of an interface (`dev_valid_name`), or an alternative one.
pub fn is_interface_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}

fn check_id(kind: &str, id: &str) -> Checked {
    if !is_id(id) {
        invalid!(
            "{kind} id {id:?} is not 1 to {MAX_ID} printable characters without spaces; choose another"
        );
    }
    Ok(())
}

fn check_region(region: Option<&str>) -> Checked {
    region.map_or(Ok(()), |region| check_id("region", region))
}

fn check_mac(id: &str, mac: Mac) -> Checked {
    if mac.0[0] & 1 == 1 || mac.0 == [0; 6] {
        invalid!(
            "ENI `{id}`: {mac} is not the MAC of one interface; name a unicast address such as 02:00:00:00:00:01"
        );
    }
    Ok(())
}

fn check_port(eni: &str, port: &str, vlan: Option<Vlan>) -> Checked {
    if !is_interface_name(port) || !port.chars().all(|c| c.is_ascii_graphic()) {
        invalid!(
            "ENI `{eni}`: {port:?} is not the name of an interface (1 to {MAX_NAME} characters, no space or slash)"
        );
    }
    match vlan.map_or(Ok(()), Vlan::check) {
        Ok(()) => Ok(()),
        Err(why) => invalid!("ENI `{eni}`: {why}; choose one that is"),
    }
}

fn check_cidr(kind: &str, cidr: &IpNet) -> Checked {
    if cidr.prefix_len() >= 96 {
        check_address(kind, cidr.addr())?;
    }
    if *cidr != cidr.trunc() {
        invalid!(
            "{kind} {cidr} has bits behind its prefix; write {}",
            cidr.trunc()
        );
    }
    Ok(())
}

/// An IPv4 address has one form: as an IPv6 one it would be another object with the same meaning.
fn check_address(what: &str, address: IpAddr) -> Checked {
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        invalid!("{what} {address} is an IPv4 address in the form of an IPv6 one; write {v4}");
    }
    Ok(())
}
