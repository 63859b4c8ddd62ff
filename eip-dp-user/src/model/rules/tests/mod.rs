//! The rules, each decided by the table in memory and the one in a file alike.

mod apply;
mod codes;
mod lifecycle;
pub(crate) mod random;

/// Two VPCs with the same addresses, an instance, one ENI of each kind, three EIPs.
const WORLD: &str = "
    pool 203.0.113.0/24 reserve=203.0.113.200-203.0.113.210
    pool 2001:db8:1::/64
    vpc v1 10.0.0.0/24,10.0.1.0/24,fd00:1::/64
    vpc v2 10.0.0.0/24
    instance i1 max=3
    instance i2
    eni p1 v1 primary 1 10.0.0.11,10.0.0.12
    eni s1 v1 secondary 2 10.0.0.21,10.0.0.22
    eni t1 v2 secondary 3 10.0.0.11
    attach p1 i1 port-p1
    eip x1 203.0.113.11
    eip x2 203.0.113.12
    eip x3 203.0.113.13
    eip x6 2001:db8:1::6
";
