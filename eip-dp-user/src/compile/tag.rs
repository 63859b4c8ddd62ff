//! Tags: the 64 bits by which the kernel's records name an object.

/// FNV-1a, 64 bits (draft-eastlake-fnv): the kernel's maps outlive the daemon, so the hash must
/// never change with a compiler or a library. Never 0, which stands for no object. Two ids with one
/// tag are found by the compiler of the image and refused.
pub fn tag(id: &str) -> u64 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn is_the_published_hash() {
        assert_eq!(tag("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(tag("foobar"), 0x8594_4171_f739_67e8);
    }
}
