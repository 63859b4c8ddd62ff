//! Where the running kernel has what the programs read of its structures, by its own types (BTF).
//!
//! Read here and not by a library: of all types of a kernel, a hundred thousand, four members of
//! one structure are wanted at each load. The crates that there are make objects of all of them
//! first, which takes a fifth of a second, or have a licence that `deny.toml` does not allow.

use std::{fs, io, sync::LazyLock};

use aya::{
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};

/// Where the kernel shows its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Where members of `struct sk_buff` are, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkbLayout {
    /// The byte with the two bits of `ip_summed`: who is to compute the checksum of a packet.
    pub ip_summed_byte: u32,
    /// The lower one of these bits.
    pub ip_summed_shift: u32,
    /// `csum_start`, a `u16`: from where on a device is to add up, from the start of the buffer.
    pub csum_start: u32,
    /// `csum_offset`, a `u16`: where it is to write the sum, from there.
    pub csum_offset: u32,
    /// `mac_header`, a `u16`: where the frame begins, from the start of the buffer.
    pub mac_header: u32,
}

/// Why it is not known, or of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The kernel does not show its types.
    #[error("{VMLINUX}: {0}")]
    Hidden(#[from] io::Error),
    /// They are in another form.
    #[error("{VMLINUX}: {0}")]
    Form(&'static str),
    /// The structure is another one.
    #[error("{VMLINUX}: struct sk_buff has no `{0}` of the kind that is known")]
    Member(&'static str),
    /// There are several.
    #[error("{VMLINUX}: there is more than one struct sk_buff")]
    Several,
    /// It would be of no use.
    #[error(
        "programs may not read the kernel's memory (bpf_probe_read_kernel): lockdown=confidentiality"
    )]
    Refused,
}

impl SkbLayout {
    /// That of the running kernel, which is looked at once.
    pub fn of_this_kernel() -> Result<Self, &'static Unknown> {
        static LAYOUT: LazyLock<Result<SkbLayout, Unknown>> = LazyLock::new(|| {
            let layout = SkbLayout::read(&fs::read(VMLINUX)?)?;
            // Where that cannot be told, loading the programs will tell.
            let reads = BpfHelper::BPF_FUNC_probe_read_kernel;
            match is_helper_supported(ProgramType::SchedClassifier, reads) {
                Ok(false) => Err(Unknown::Refused),
                Ok(true) | Err(_) => Ok(layout),
            }
        });
        LAYOUT.as_ref().copied()
    }

    /// By a kernel's types, of this machine's byte order.
    fn read(btf: &[u8]) -> Result<Self, Unknown> {
        let (types, found) = Types::read(btf, "sk_buff")?;
        let mut layouts = found.into_iter().map(|skb| Self::of(&types, skb));
        let layout = layouts.next().ok_or(Unknown::Form("no struct sk_buff"))??;
        if layouts.any(|other| other.ok() != Some(layout)) {
            return Err(Unknown::Several);
        }
        Ok(layout)
    }

    fn of(types: &Types<'_>, skb: Type) -> Result<Self, Unknown> {
        let number = |name| {
            types
                .member(skb, name, DEEPEST)
                .filter(|member| member.bits == 0 && member.offset.is_multiple_of(8))
                .filter(|member| types.size_of_integer(member.kind) == Some(2))
                .map(|member| member.offset / 8)
                .ok_or(Unknown::Member(name))
        };
        let ip_summed = types
            .member(skb, "ip_summed", DEEPEST)
            // Within one byte.
            .filter(|member| member.bits == 2 && member.offset % 8 <= 6)
            .ok_or(Unknown::Member("ip_summed"))?;
        Ok(Self {
            ip_summed_byte: ip_summed.offset / 8,
            ip_summed_shift: ip_summed.offset % 8,
            csum_start: number("csum_start")?,
            csum_offset: number("csum_offset")?,
            mac_header: number("mac_header")?,
        })
    }
}

/// How many structures without a name may stand in each other.
const DEEPEST: u32 = 8;

/// What begins a file: `struct btf_header` of include/uapi/linux/btf.h, to which later versions may
/// add.
mod header {
    pub(super) const MAGIC: u16 = 0xeb9f;
    pub(super) const VERSION: u8 = 1;
    pub(super) const LENGTH: usize = 4;
    pub(super) const TYPES: usize = 8;
    pub(super) const STRINGS: usize = 16;
}

/// `BTF_KIND_*`.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// A type's record, but for what follows it.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    info: u32,
    /// Its size, or the type that it is made of.
    size_or_base: u32,
    /// Where what follows begins.
    behind: usize,
}

impl Type {
    const LENGTH: usize = 12;

    fn at(types: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            name: word(types, at)?,
            info: word(types, at + 4)?,
            size_or_base: word(types, at + 8)?,
            behind: at + Self::LENGTH,
        })
    }

    fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    /// How many members, values or parameters follow.
    fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Whether the offsets of its members have the sizes of bit fields in their upper bytes.
    fn has_bit_fields(self) -> bool {
        self.info >> 31 == 1
    }

    /// The length of what follows; `None` for a kind that is not known.
    fn length_behind(self) -> Option<usize> {
        let each = match self.kind() {
            kind::INT | kind::VAR | kind::DECL_TAG => return Some(4),
            kind::ARRAY => return Some(12),
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12,
            kind::ENUM | kind::FUNC_PROTO => 8,
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            _ => return None,
        };
        Some(each * self.count())
    }
}

/// A member of a structure.
#[derive(Clone, Copy)]
struct Member {
    kind: u32,
    /// In bits.
    offset: u32,
    /// The size of a bit field, else 0.
    bits: u32,
}

/// All types.
struct Types<'a> {
    records: &'a [u8],
    strings: &'a [u8],
    /// Where each begins. They are numbered from 1 on.
    places: Vec<usize>,
}

impl<'a> Types<'a> {
    /// All of them, and the structures of that name.
    fn read(btf: &'a [u8], wanted: &str) -> Result<(Self, Vec<Type>), Unknown> {
        let magic = btf.first_chunk().copied().map(u16::from_ne_bytes);
        if magic != Some(header::MAGIC) || btf.get(2) != Some(&header::VERSION) {
            return Err(Unknown::Form("not BTF of version 1 and this byte order"));
        }
        let section = |at| section(btf, at).ok_or(Unknown::Form("the BTF is cut off"));
        let mut read = Self {
            records: section(header::TYPES)?,
            strings: section(header::STRINGS)?,
            places: Vec::new(),
        };
        let mut found = Vec::new();
        let mut at = 0;
        while at < read.records.len() {
            let one = Type::at(read.records, at).ok_or(Unknown::Form("a type is cut off"))?;
            let length = one.length_behind();
            let length = length.ok_or(Unknown::Form("a type is of an unknown kind"))?;
            if one.kind() == kind::STRUCT && read.is_named(one.name, wanted) {
                found.push(one);
            }
            read.places.push(at);
            at = one.behind + length;
        }
        Ok((read, found))
    }

    fn get(&self, number: u32) -> Option<Type> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        Type::at(self.records, *self.places.get(place)?)
    }

    fn is_named(&self, at: u32, name: &str) -> bool {
        let string = usize::try_from(at)
            .ok()
            .and_then(|at| self.strings.get(at..));
        let rest = string.and_then(|string| string.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The member of that name, also in a structure or union without one.
    fn member(&self, outer: Type, name: &str, depth: u32) -> Option<Member> {
        if !matches!(outer.kind(), kind::STRUCT | kind::UNION) {
            return None;
        }
        let members = (0..outer.count()).map_while(|index| {
            let at = outer.behind + 12 * index;
            let offset = word(self.records, at + 8)?;
            let (offset, bits) = if outer.has_bit_fields() {
                (offset & 0xff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            let kind = word(self.records, at + 4)?;
            Some((word(self.records, at)?, Member { kind, offset, bits }))
        });
        for (found, member) in members {
            if self.is_named(found, name) {
                return Some(member);
            }
            if self.is_named(found, "") && depth > 0 {
                let inner = self.get(member.kind)?;
                if let Some(inner) = self.member(inner, name, depth - 1) {
                    let offset = member.offset.checked_add(inner.offset)?;
                    return Some(Member { offset, ..inner });
                }
            }
        }
        None
    }

    /// In bytes, if that is what the type comes to.
    fn size_of_integer(&self, mut number: u32) -> Option<u32> {
        for _ in 0..DEEPEST {
            let found = self.get(number)?;
            match found.kind() {
                kind::INT => return Some(found.size_or_base),
                kind::TYPEDEF | kind::CONST | kind::VOLATILE | kind::TYPE_TAG => {
                    number = found.size_or_base;
                }
                _ => return None,
            }
        }
        None
    }
}

/// What the two numbers there say: where a section begins behind the header, and its length.
fn section(btf: &[u8], at: usize) -> Option<&[u8]> {
    let number = |at| usize::try_from(word(btf, at)?).ok();
    let begin = number(header::LENGTH)?.checked_add(number(at)?)?;
    btf.get(begin..)?.get(..number(at + 4)?)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, time::Instant};

    use fastrand::Rng;

    use super::*;

    /// A file of types.
    #[derive(Default)]
    struct Writer {
        types: Vec<u8>,
        strings: Vec<u8>,
        count: u32,
    }

    /// Name, type, offset in bits, bits of a bit field.
    type Row<'a> = (&'a str, u32, u32, u32);

    impl Writer {
        fn new() -> Self {
            let mut new = Self {
                strings: vec![0],
                ..Self::default()
            };
            new.add("unsigned short", kind::INT, 2, &[16]);
            new.add("unsigned char", kind::INT, 1, &[8]);
            new.add("__u16", kind::TYPEDEF, 1, &[]);
            new.add("__u8", kind::TYPEDEF, 2, &[]);
            new
        }

        fn name(&mut self, name: &str) -> u32 {
            if name.is_empty() {
                return 0;
            }
            let at = u32::try_from(self.strings.len()).unwrap();
            self.strings.extend(name.as_bytes());
            self.strings.push(0);
            at
        }

        fn words(&mut self, words: &[u32]) {
            self.types
                .extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }

        fn add(&mut self, name: &str, info: u32, size: u32, behind: &[u32]) -> u32 {
            let name = self.name(name);
            let info = if info < 32 { info << 24 } else { info };
            self.words(&[name, info, size]);
            self.words(behind);
            self.count += 1;
            self.count
        }

        fn structure(&mut self, name: &str, kind: u32, rows: &[Row<'_>]) -> u32 {
            let mut behind = Vec::new();
            for (name, kind, offset, bits) in rows {
                behind.extend([self.name(name), *kind, bits << 24 | offset]);
            }
            let count = u32::try_from(rows.len()).unwrap();
            self.add(name, 1 << 31 | kind << 24 | count, 64, &behind)
        }

        fn bytes(&self) -> Vec<u8> {
            let (types, strings) = (self.types.len(), self.strings.len());
            let numbers = [24, 0, types, types, strings];
            let mut bytes = header::MAGIC.to_ne_bytes().to_vec();
            bytes.extend([header::VERSION, 0]);
            bytes.extend(
                numbers
                    .iter()
                    .flat_map(|n| u32::try_from(*n).unwrap().to_ne_bytes()),
            );
            bytes.extend(&self.types);
            bytes.extend(&self.strings);
            bytes
        }
    }

    const U16: u32 = 3;
    const U8: u32 = 4;
    const IP_SUMMED: Row<'_> = ("ip_summed", U8, 5, 2);

    /// A `sk_buff` as that of Linux: the headers are a structure without a name in a union without
    /// a name, beside one with a name.
    fn skb(writer: &mut Writer, ip_summed: Row<'_>, csum_offset: u32) -> u32 {
        let parts = [
            ("csum_start", U16, 0, 0),
            ("csum_offset", csum_offset, 16, 0),
        ];
        let parts = writer.structure("", kind::STRUCT, &parts);
        let csum = [("csum", U16, 0, 0), ("", parts, 0, 0)];
        let csum = writer.structure("", kind::UNION, &csum);
        let headers = [
            ("pkt_type", U8, 0, 3),
            ip_summed,
            ("", csum, 64, 0),
            ("mac_header", U16, 160, 0),
        ];
        let nameless = writer.structure("", kind::STRUCT, &headers);
        let named = writer.structure("", kind::STRUCT, &headers);
        let union = [("", nameless, 0, 0), ("headers", named, 0, 0)];
        let union = writer.structure("", kind::UNION, &union);
        let members = [("next", U16, 0, 0), ("", union, 1024, 0)];
        writer.structure("sk_buff", kind::STRUCT, &members)
    }

    fn read(write: impl FnOnce(&mut Writer)) -> Result<SkbLayout, String> {
        let mut writer = Writer::new();
        write(&mut writer);
        SkbLayout::read(&writer.bytes()).map_err(|error| error.to_string())
    }

    const WRITTEN: SkbLayout = SkbLayout {
        ip_summed_byte: 128,
        ip_summed_shift: 5,
        csum_start: 136,
        csum_offset: 138,
        mac_header: 148,
    };

    #[test]
    fn members_are_found_in_structures_without_a_name() {
        let found = read(|writer| {
            // One of each kind that has something behind it, and one that only says that there is
            // such a structure.
            writer.add("a", kind::ARRAY, 0, &[1, 1, 9]);
            writer.add("e", kind::ENUM << 24 | 2, 4, &[0, 1, 0, 2]);
            writer.add("e64", kind::ENUM64 << 24 | 1, 8, &[0, 1, 2]);
            writer.add("p", kind::FUNC_PROTO << 24 | 1, 0, &[0, 1]);
            writer.add("v", kind::VAR, 1, &[0]);
            writer.add("d", kind::DATASEC << 24 | 1, 4, &[9, 0, 4]);
            writer.add("t", kind::DECL_TAG, 1, &[0]);
            writer.add("sk_buff", kind::FWD, 0, &[]);
            writer.structure("sk_buff_head", kind::STRUCT, &[("next", U16, 0, 0)]);
            skb(writer, IP_SUMMED, U16);
        });
        assert_eq!(found, Ok(WRITTEN));
    }

    #[test]
    fn another_structure_than_the_known_one_is_no_guess() {
        let message = |write: &dyn Fn(&mut Writer)| read(|writer| write(writer)).unwrap_err();
        let without = message(&|_| {});
        assert!(without.ends_with("no struct sk_buff"), "{without}");
        for (row, csum_offset, wanted) in [
            (("ip_sum", U8, 5, 2), U16, "ip_summed"),
            (("ip_summed", U8, 5, 3), U16, "ip_summed"),
            (("ip_summed", U8, 7, 2), U16, "ip_summed"),
            (("ip_summed", U8, 8, 0), U16, "ip_summed"),
            (IP_SUMMED, U8, "csum_offset"),
        ] {
            let error = message(&|writer| {
                skb(writer, row, csum_offset);
            });
            assert!(error.contains(&format!("no `{wanted}`")), "{error}");
        }
        let several = message(&|writer| {
            skb(writer, IP_SUMMED, U16);
            skb(writer, ("ip_summed", U8, 3, 2), U16);
        });
        assert!(several.contains("more than one"), "{several}");
        let same = read(|writer| {
            skb(writer, IP_SUMMED, U16);
            skb(writer, IP_SUMMED, U16);
        });
        assert_eq!(same, Ok(WRITTEN));
        let kind = message(&|writer| {
            writer.add("new", 25, 0, &[]);
            skb(writer, IP_SUMMED, U16);
        });
        assert!(kind.contains("unknown kind"), "{kind}");
        // A structure in itself.
        let endless = message(&|writer| {
            let own = writer.count + 1;
            let rows = [("", own, 0, 0), ("", own, 0, 0)];
            writer.structure("sk_buff", kind::STRUCT, &rows);
        });
        assert!(endless.contains("no `ip_summed`"), "{endless}");
    }

    #[test]
    fn nothing_that_is_no_btf_brings_the_loader_down() {
        let mut writer = Writer::new();
        skb(&mut writer, IP_SUMMED, U16);
        let bytes = writer.bytes();
        for length in 0..bytes.len() {
            let _ = SkbLayout::read(&bytes[..length]).unwrap_err();
        }
        let mut random = Rng::with_seed(9);
        for _ in 0..100_000 {
            let mut bytes = bytes.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            let read = catch_unwind(|| SkbLayout::read(&bytes).ok());
            assert!(read.is_ok(), "{bytes:?}");
        }
        for extreme in [[0xff; 4], [0xff, 0xff, 0xff, 0x7f]] {
            for at in (4..24).step_by(4) {
                let mut bytes = bytes.clone();
                bytes[at..at + 4].copy_from_slice(&extreme);
                let _ = SkbLayout::read(&bytes).unwrap_err();
            }
        }
    }

    #[test]
    fn this_kernel_is_known() {
        let begun = Instant::now();
        let layout = SkbLayout::of_this_kernel().unwrap();
        eprintln!("{layout:?} in {:?}", begun.elapsed());
        assert!(layout.ip_summed_byte < 256 && layout.ip_summed_shift <= 6);
        assert!(layout.csum_start < 256 && layout.mac_header < 256);
        assert_eq!(layout.csum_offset, layout.csum_start + 2);
        let btf = fs::read(VMLINUX).unwrap();
        for part in 0..8 {
            let _ = SkbLayout::read(&btf[..btf.len() * part / 8]).unwrap_err();
        }
    }
}
