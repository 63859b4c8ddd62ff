//! Every code: a command that it refuses, and the nearest one that it does not.

use super::WORLD;
use crate::{model::Code, table::testing::Pair};

/// `refused` is refused with the code after `setup`; then `accepted` (lines, the last is the point)
/// is done.
fn both(code: Code, setup: &str, refused: &str, accepted: &str) {
    let mut pair = Pair::with(WORLD);
    pair.accept_all(setup);
    let refusal = pair.refuse(code, refused);
    assert!(
        refusal.message.len() > 20 && !refusal.message.contains('\n'),
        "{refusal}"
    );
    pair.accept_all(accepted);
}

macro_rules! cases {
    ($($test:ident: $code:ident, $setup:literal, $refused:literal, $accepted:literal;)+) => {
        $(#[test]
        fn $test() {
            both(Code::$code, $setup, $refused, $accepted);
        })+

        #[test]
        fn every_code_has_a_case() {
            let tested = [$(Code::$code),+];
            for code in Code::ALL {
                assert!(tested.contains(code), "{code}");
            }
        }
    };
}

cases! {
    port_is_the_hosts: PortIsTheHosts, "", "attach s1 i1 eno1", "attach s1 i1 eno1 vlan=5";
    port_is_the_hosts_unless_forced: PortIsTheHosts, "", "attach s1 i1 eno1",
        "attach s1 i1 eno1 force=yes \n attach s1 i1 eno1";
    shared_primary_ip: SharedPrimaryIp, "add-ip s1 10.0.0.90 shared=yes", "add-ip s1 fd00:1::90 shared=yes",
        "add-ip p1 10.0.0.90 shared=yes";
    shared_with_one_who_does_not: DuplicateAddress, "add-ip s1 10.0.0.90", "add-ip p1 10.0.0.90 shared=yes",
        "remove-ip s1 10.0.0.90 \n add-ip s1 10.0.0.90 shared=yes \n add-ip p1 10.0.0.90 shared=yes";
    shared_has_one_eip: PrivateIpInUse,
        "add-ip s1 10.0.0.90 shared=yes \n add-ip p1 10.0.0.90 shared=yes \n associate x1 s1 nat ip=10.0.0.90",
        "associate x2 p1 nat ip=10.0.0.90", "disassociate x1 \n associate x2 p1 nat ip=10.0.0.90";
    shared_beside_cut_through: CutThroughExclusive, "add-ip s1 10.0.0.90 shared=yes", "associate x1 s1 cut",
        "remove-ip s1 10.0.0.90 \n associate x1 s1 cut";
    cut_through_beside_shared: CutThroughExclusive, "associate x1 s1 cut", "add-ip s1 10.0.0.90 shared=yes",
        "add-ip s1 10.0.0.90";
    vpc_cidr_limit: VpcCidrLimit,
        "vpc-set v1 add=10.101.0.0/24,10.102.0.0/24,10.103.0.0/24,10.104.0.0/24,10.105.0.0/24,10.106.0.0/24",
        "vpc-set v1 add=10.107.0.0/24,10.108.0.0/24,10.109.0.0/24", "vpc-set v1 remove=10.106.0.0/24";
    not_found_eip: NotFound, "", "associate x9 s1", "associate x1 s1";
    not_found_eni: NotFound, "", "associate x1 s9", "associate x1 s1";
    not_found_vpc: NotFound, "", "eni n1 v9 secondary 9 10.0.0.99", "eni n1 v1 secondary 9 10.0.0.99";
    not_found_instance: NotFound, "", "attach s1 i9 port-s1", "attach s1 i1 port-s1";
    not_found_association: NotFound, "", "disassociate x1", "associate x1 s1 \n disassociate x1";
    not_found_pool: NotFound, "", "pool-delete 203.0.114.0/24", "pool 203.0.114.0/24 \n pool-delete 203.0.114.0/24";
    not_found_on_set: NotFound, "", "set x9 never", "set x1 never";
    not_found_on_deletes: NotFound, "", "vpc-delete v9", "vpc v9 10.9.0.0/24 \n vpc-delete v9";
    already_exists_pool: AlreadyExists, "", "pool 203.0.113.0/24", "pool 203.0.114.0/24";
    already_exists_vpc: AlreadyExists, "", "vpc v1 10.7.0.0/24", "vpc v3 10.7.0.0/24";
    already_exists_instance: AlreadyExists, "", "instance i1", "instance i3";
    already_exists_eni: AlreadyExists, "", "eni s1 v1 secondary 9 10.0.0.99", "eni s9 v1 secondary 9 10.0.0.99";
    already_exists_eip: AlreadyExists, "", "eip x1", "eip x9";
    eip_in_use: EipInUse, "associate x1 s1", "associate x1 p1", "associate x2 p1";
    eip_in_use_release: EipInUse, "associate x1 s1", "release x1", "disassociate x1 \n release x1";
    eip_expired_by_time: EipExpired, "", "eip e1 203.0.113.20 expires=1000", "eip e1 203.0.113.20 expires=1001";
    eip_expired_set: EipExpired, "", "set x1 1000", "set x1 1001";
    region_mismatch: RegionMismatch,
        "eip r1 203.0.113.20 region=north \n eni n1 v1 secondary 9 10.0.0.99 region=south",
        "associate r1 n1", "eni n2 v1 secondary 10 10.0.0.98 region=north \n associate r1 n2";
    region_mismatch_none: RegionMismatch, "eip r1 203.0.113.20 region=north", "associate r1 s1", "associate x1 s1";
    family_mismatch: FamilyMismatch, "add-ip s1 fd00:1::21", "associate x1 s1 nat ip=fd00:1::21",
        "associate x6 s1 nat ip=fd00:1::21";
    family_mismatch_default: FamilyMismatch, "", "associate x6 s1", "add-ip s1 fd00:1::21 \n associate x6 s1";
    cut_through_needs_secondary: CutThroughNeedsSecondary, "", "associate x1 p1 cut", "associate x1 s1 cut";
    eni_attached: EniAttached, "attach s1 i1 port-s1", "associate x1 s1 cut", "detach s1 \n associate x1 s1 cut";
    eni_attached_not_for_nat: EniAttached, "attach s1 i1 port-s1", "associate x1 s1 cut", "associate x1 s1 nat";
    cut_through_exclusive_nat_first: CutThroughExclusive, "associate x1 s1 nat ip=10.0.0.22", "associate x2 s1 cut",
        "disassociate x1 \n associate x2 s1 cut";
    cut_through_exclusive_nat_second: CutThroughExclusive, "associate x1 s1 cut", "associate x2 s1 nat ip=10.0.0.22",
        "associate x2 t1 nat";
    cut_through_exclusive_twice: CutThroughExclusive, "associate x1 s1 cut", "associate x2 s1 cut",
        "add-ip s1 fd00:1::21 \n associate x6 s1 cut";
    cut_through_exclusive_other_family: CutThroughExclusive, "add-ip s1 fd00:1::21 \n associate x6 s1 cut",
        "associate x1 s1 nat", "associate x1 s1 cut";
    cut_through_primary_ip_only: CutThroughPrimaryIpOnly, "", "associate x1 s1 cut ip=10.0.0.22",
        "associate x1 s1 cut ip=10.0.0.21";
    primary_eni_limit: PrimaryEniLimit, "associate x1 p1", "associate x2 p1 nat ip=10.0.0.12",
        "associate x2 s1 nat ip=10.0.0.22 \n associate x3 s1 nat ip=10.0.0.21";
    primary_eni_limit_per_family: PrimaryEniLimit, "add-ip p1 fd00:1::11 \n associate x1 p1",
        "associate x2 p1 nat ip=10.0.0.12", "associate x6 p1";
    not_an_eni_address: NotAnEniAddress, "", "associate x1 s1 nat ip=10.0.0.23",
        "add-ip s1 10.0.0.23 \n associate x1 s1 nat ip=10.0.0.23";
    not_an_eni_address_remove: NotAnEniAddress, "", "remove-ip s1 10.0.0.23", "remove-ip s1 10.0.0.22";
    private_ip_in_use: PrivateIpInUse, "associate x1 s1", "associate x2 s1", "associate x2 s1 nat ip=10.0.0.22";
    primary_eni_fixed: PrimaryEniFixed, "", "detach p1", "attach s1 i1 port-s1 \n detach s1";
    primary_eni_fixed_move: PrimaryEniFixed, "", "attach p1 i2 port-p1", "attach p1 i1 other-port";
    instance_eni_limit: InstanceEniLimit,
        "eni s2 v1 secondary 9 10.0.0.99 \n attach s1 i1 a \n attach s2 i1 b \n eni s3 v1 secondary 8 10.0.0.98",
        "attach s3 i1 c", "attach s2 i1 d \n attach s2 i2 b \n attach s3 i1 c";
    instance_eni_limit_primary: InstanceEniLimit, "eni p2 v1 primary 9 10.0.0.99", "attach p2 i1 b", "attach p2 i2 b";
    port_in_use: PortInUse, "", "attach t1 i2 port-p1", "attach s1 i2 port-p1 \n attach t1 i2 port-t1";
    port_in_use_vlan: PortInUse, "attach s1 i1 lan vlan=7", "attach t1 i2 lan vlan=7", "attach t1 i2 lan vlan=8";
    port_in_use_stack: PortInUse, "attach s1 i1 lan vlan=9.7", "attach t1 i2 lan vlan=9.7",
        "attach t1 i2 lan vlan=8.7 \n attach t1 i2 lan vlan=7";
    port_in_use_left: PortInUse, "attach t1 i2 port-t1", "attach s1 i1 port-t1",
        "attach t1 i2 elsewhere \n attach s1 i1 port-t1";
    outside_pools: OutsidePools, "", "eip y1 203.0.114.9", "pool 203.0.114.0/24 \n eip y1 203.0.114.9";
    outside_pools_gateway: OutsidePools, "", "pool 203.0.114.0/24 gateway=203.0.115.1",
        "pool 203.0.114.0/24 gateway=203.0.114.254";
    outside_pools_reserve: OutsidePools, "", "pool 203.0.114.0/24 reserve=203.0.114.250-203.0.115.1",
        "pool 203.0.114.0/24 reserve=203.0.114.250-203.0.114.255";
    reserved_address_gateway: ReservedAddress, "", "eip y1 203.0.113.1", "eip y1 203.0.113.2";
    reserved_address_network: ReservedAddress, "", "eip y1 203.0.113.0",
        "pool 203.0.114.0/24 gateway=none \n eip y1 203.0.114.0";
    reserved_address_broadcast: ReservedAddress, "", "eip y1 203.0.113.255", "eip y1 203.0.113.254";
    reserved_address_range: ReservedAddress, "", "eip y1 203.0.113.200", "eip y1 203.0.113.199";
    reserved_address_range_end: ReservedAddress, "", "eip y1 203.0.113.210", "eip y1 203.0.113.211";
    reserved_address_host: ReservedAddress, "", "eip y1 203.0.113.77", "eip y1 203.0.113.78";
    reserved_address_next_hop: ReservedAddress, "", "eip y1 203.0.113.251", "eip y1 203.0.113.250";
    reserved_address_vpc_gateway: ReservedAddress, "", "add-ip s1 10.0.1.1", "add-ip s1 10.0.1.2";
    reserved_address_vpc_broadcast: ReservedAddress, "", "add-ip s1 10.0.1.255", "add-ip s1 10.0.1.254";
    reserved_address_vpc_network: ReservedAddress, "", "eni n1 v1 secondary 9 10.0.1.0", "eni n1 v1 secondary 9 10.0.1.3";
    reserved_address_named_gateway: ReservedAddress, "vpc v3 10.3.0.0/24 gateway=10.3.0.254",
        "eni n1 v3 secondary 9 10.3.0.254", "eni n1 v3 secondary 9 10.3.0.1";
    reserved_address_block: ReservedAddress, "", "pool 224.1.0.0/16", "pool 223.1.0.0/16";
    reserved_address_family: ReservedAddress, "", "pool 4000::/64", "pool fd00:9::/64";
    reserved_address_family_wider: ReservedAddress, "", "pool f800::/6", "pool fc00::/8 \n pool 100.64.0.0/10";
    reserved_address_block_vpc: ReservedAddress, "", "vpc v3 127.0.0.0/24", "vpc v3 126.0.0.0/24";
    outside_vpc: OutsideVpc, "", "add-ip s1 10.0.2.5", "add-ip s1 10.0.1.5";
    outside_vpc_create: OutsideVpc, "", "eni n1 v2 secondary 9 10.0.1.9", "eni n1 v1 secondary 9 10.0.1.9";
    outside_vpc_gateway: OutsideVpc, "", "vpc v3 10.3.0.0/24 gateway=10.4.0.1", "vpc v3 10.3.0.0/24 gateway=10.3.0.2";
    overlapping_cidr_pools: OverlappingCidr, "", "pool 203.0.113.128/25", "pool 203.0.112.0/24";
    overlapping_cidr_pools_wider: OverlappingCidr, "", "pool 203.0.0.0/16", "pool 204.0.0.0/16";
    overlapping_cidr_vpc: OverlappingCidr, "", "vpc v3 10.0.0.0/8,10.0.1.0/24", "vpc v3 10.0.0.0/8,11.0.1.0/24";
    overlapping_cidr_pool_on_vpc: OverlappingCidr, "", "pool 10.0.0.0/8", "pool 11.0.0.0/8";
    overlapping_cidr_vpc_on_pool: OverlappingCidr, "", "vpc v3 203.0.113.0/25", "vpc v3 203.0.114.0/25";
    duplicate_mac: DuplicateMac, "", "eni n1 v1 secondary 2 10.0.0.99", "eni n1 v2 secondary 2 10.0.0.99";
    duplicate_address: DuplicateAddress, "", "eni n1 v1 secondary 9 10.0.0.11", "eni n1 v2 secondary 9 10.0.0.12";
    duplicate_address_twice: DuplicateAddress, "", "eni n1 v1 secondary 9 10.0.0.98,10.0.0.98",
        "eni n1 v1 secondary 9 10.0.0.98,10.0.0.99";
    duplicate_address_add: DuplicateAddress, "", "add-ip s1 10.0.0.21", "add-ip s1 10.0.0.23";
    duplicate_address_eip: DuplicateAddress, "", "eip y1 203.0.113.11", "release x1 \n eip y1 203.0.113.11";
    in_use_pool: InUse, "", "pool-delete 203.0.113.0/24",
        "release x1 \n release x2 \n release x3 \n pool-delete 203.0.113.0/24";
    in_use_vpc: InUse, "", "vpc-delete v2", "eni-delete t1 \n vpc-delete v2";
    in_use_instance_secondary: InUse, "attach s1 i1 port-s1", "instance-delete i1", "detach s1 \n instance-delete i1";
    in_use_instance_eip: InUse, "associate x1 p1", "instance-delete i1", "disassociate x1 \n instance-delete i1";
    in_use_eni_attached: InUse, "attach s1 i1 port-s1", "eni-delete s1", "detach s1 \n eni-delete s1";
    in_use_eni_primary: InUse, "", "eni-delete p1", "eni p2 v1 primary 9 10.0.0.99 \n eni-delete p2";
    in_use_eni_eip: InUse, "associate x1 s1", "eni-delete s1", "disassociate x1 \n eni-delete s1";
    in_use_private_ip: InUse, "associate x1 s1", "remove-ip s1 10.0.0.21", "remove-ip s1 10.0.0.22";
    needs_yes: NeedsYes, "", "prune-all", "prune-all yes";
    in_use_last_private_ip: InUse, "", "remove-ip t1 10.0.0.11", "add-ip t1 10.0.0.12 \n remove-ip t1 10.0.0.11";
}

#[test]
fn codes_are_stable() {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let expected = "not-found already-exists eip-in-use eip-expired region-mismatch family-mismatch \
        cut-through-needs-secondary eni-attached cut-through-exclusive cut-through-primary-ip-only primary-eni-limit \
        not-an-eni-address private-ip-in-use primary-eni-fixed instance-eni-limit port-in-use port-is-the-hosts \
        outside-pools reserved-address outside-vpc overlapping-cidr duplicate-mac duplicate-address shared-primary-ip \
        vpc-cidr-limit in-use needs-yes";
    assert_eq!(codes, expected.split_whitespace().collect::<Vec<_>>());
}

/// One `associate` that breaks many rules at once is refused by the first; each step repairs that
/// one.
#[test]
fn associate_names_the_first_rule_that_it_breaks() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all(
        "pool 198.51.100.0/24
         eip old 198.51.100.9 region=north expires=1001
         eni a1 v1 primary 9 10.0.0.91 region=south
         associate x1 s1",
    );
    pair.accept_at("expire", 1_001);
    let bad = "cut ip=fd00:1::99";
    pair.refuse(Code::NotFound, &format!("associate x1 nobody {bad}"));
    pair.refuse(Code::EipInUse, &format!("associate x1 a1 {bad}"));
    pair.refuse(Code::EipExpired, &format!("associate old a1 {bad}"));
    pair.accept("set old never");
    pair.refuse(Code::RegionMismatch, &format!("associate old a1 {bad}"));
    pair.refuse(Code::FamilyMismatch, &format!("associate x2 p1 {bad}"));
    pair.refuse(
        Code::CutThroughNeedsSecondary,
        "associate x2 p1 cut ip=10.0.0.99",
    );
    pair.accept("attach s1 i1 port-s1");
    pair.refuse(Code::EniAttached, "associate x2 s1 cut ip=10.0.0.99");
    pair.accept("detach s1");
    pair.refuse(
        Code::CutThroughExclusive,
        "associate x2 s1 cut ip=10.0.0.99",
    );
    pair.accept("disassociate x1");
    pair.refuse(
        Code::CutThroughPrimaryIpOnly,
        "associate x2 s1 cut ip=10.0.0.99",
    );
    pair.accept("associate x1 p1");
    pair.refuse(Code::PrimaryEniLimit, "associate x2 p1 nat ip=10.0.0.99");
    pair.refuse(Code::NotAnEniAddress, "associate x2 s1 nat ip=10.0.0.99");
    pair.accept("associate x3 s1");
    pair.refuse(Code::PrivateIpInUse, "associate x2 s1");
    pair.accept("associate x2 s1 nat ip=10.0.0.22");
}
