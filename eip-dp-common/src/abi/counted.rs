//! Enumerations of what is counted.

/// Declares what is counted once: number, name and sentence.
macro_rules! counted {
    (
        $(#[$about:meta])*
        $counted:ident in $counters:literal {
            $($(#[doc = $sentence:literal])+ $variant:ident = $number:literal $name:literal;)*
        }
    ) => {
        $(#[$about])*
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $counted {
            $($(#[doc = $sentence])+ $variant = $number,)*
        }

        impl $counted {
            /// How many counters the map has; room for those to come.
            pub const COUNTERS: u32 = $counters;

            /// Its counter.
            #[inline(always)]
            pub const fn index(self) -> u32 {
                self as u32
            }

            /// The one with this counter; `None` for what no version of this ABI counts.
            #[inline(always)]
            pub const fn from_index(index: u32) -> Option<Self> {
                match index {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// All of them, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name that operators see.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in a sentence.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($sentence),+).trim_ascii(),)*
                }
            }
        }

        const _: () = {
            let mut index = 0;
            while index < $counted::ALL.len() {
                assert!($counted::ALL[index].index() < $counted::COUNTERS);
                assert!(
                    $counted::ALL[index].index() as usize == index + 1,
                    "numbers are given in order, none twice"
                );
                index += 1;
            }
        };
    };
}

pub(super) use counted;
