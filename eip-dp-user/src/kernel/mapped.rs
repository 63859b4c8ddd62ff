//! Arrays of the kernel, mapped into this process: a write is a store.

use std::{
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{
    Pod,
    maps::{MapData, MapError},
};

/// The words of an array, which programs read while they are stored, and counters that programs
/// change while they are read.
pub struct Mapped<T> {
    words: NonNull<AtomicU64>,
    /// How many words the array has.
    len: usize,
    /// How many bytes of this process's addresses it has.
    bytes: usize,
    /// How many elements there are.
    elements: u32,
    element: PhantomData<T>,
}

// SAFETY: the words are atomic and stay mapped as long as the value lives.
unsafe impl<T> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapped<T> {}

impl<T: Pod> Mapped<T> {
    const WORDS: usize = size_of::<T>() / 8;

    /// Maps an array, of elements of this type.
    pub fn new(map: &MapData) -> Result<Self, MapError> {
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 8) };
        let info = map.info()?;
        let elements = info.max_entries();
        if info.value_size() as usize != size_of::<T>() {
            return Err(MapError::InvalidValueSize {
                size: size_of::<T>(),
                expected: info.value_size() as usize,
            });
        }
        let bytes = elements as usize * size_of::<T>();
        let page = page_size();
        let mapped = bytes.div_ceil(page) * page;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of this
        // process.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        let words = NonNull::new(start.cast()).ok_or_else(std::io::Error::last_os_error)?;
        Ok(Self {
            words,
            len: bytes / 8,
            bytes: mapped,
            elements,
            element: PhantomData,
        })
    }

    /// How many elements there are.
    pub fn elements(&self) -> u32 {
        self.elements
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped, page-aligned, for as long as the value lives; whoever
        // else changes them does so by stores of whole words, or, for counters, by such additions.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.len) }
    }

    /// Reads an element; zeros where there is none. Whole only if nobody changes it meanwhile.
    pub fn get(&self, index: u32) -> T {
        let start = index as usize * Self::WORDS;
        let mut element = std::mem::MaybeUninit::<T>::zeroed();
        let to = element.as_mut_ptr().cast::<u64>();
        for (at, word) in self
            .words()
            .iter()
            .skip(start)
            .take(Self::WORDS)
            .enumerate()
        {
            // SAFETY: `at` is less than the words of the element.
            unsafe { to.add(at).write_unaligned(word.load(Ordering::Acquire)) };
        }
        // SAFETY: plain old data, zeroed before.
        unsafe { element.assume_init() }
    }

    /// Writes an element, its words one after another; nothing where there is none.
    pub fn set(&self, index: u32, element: &T) {
        let start = index as usize * Self::WORDS;
        let from = std::ptr::from_ref(element).cast::<u64>();
        for (at, word) in self
            .words()
            .iter()
            .skip(start)
            .take(Self::WORDS)
            .enumerate()
        {
            // SAFETY: as in `get`.
            word.store(unsafe { from.add(at).read_unaligned() }, Ordering::Release);
        }
    }
}

impl<T: Pod, const N: usize> Mapped<[T; N]> {
    /// Writes one word of an element.
    pub fn set_part(&self, index: u32, part: usize, value: &T) {
        const { assert!(size_of::<T>() == 8) };
        let at = index as usize * N + part;
        if let Some(word) = self.words().get(at) {
            // SAFETY: plain old data of this size.
            word.store(
                unsafe { std::mem::transmute_copy(value) },
                Ordering::Release,
            );
        }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped; nothing refers to it any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.bytes) };
    }
}

/// The words of an index.
pub trait Words {
    /// How many there are.
    fn count(&self) -> usize;
    /// Reads one.
    fn load(&self, at: usize) -> u64;
    /// Stores one, after all that was stored before.
    fn store(&self, at: usize, word: u64);
    /// Has the processor fetch one that is needed soon.
    fn fetch(&self, _at: usize) {}
}

impl<T: Pod> Words for Mapped<T> {
    fn count(&self) -> usize {
        self.len
    }

    fn load(&self, at: usize) -> u64 {
        self.words()[at].load(Ordering::Acquire)
    }

    fn store(&self, at: usize, word: u64) {
        self.words()[at].store(word, Ordering::Release);
    }

    fn fetch(&self, at: usize) {
        fetch(self.words().get(at));
    }
}

impl Words for Vec<AtomicU64> {
    fn count(&self) -> usize {
        self.len()
    }

    fn load(&self, at: usize) -> u64 {
        self[at].load(Ordering::Acquire)
    }

    fn store(&self, at: usize, word: u64) {
        self[at].store(word, Ordering::Release);
    }
}

fn page_size() -> usize {
    // SAFETY: takes and gives numbers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Has the processor fetch what is needed soon.
#[cfg(target_arch = "x86_64")]
pub(super) fn fetch<T>(soon: Option<&T>) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    if let Some(soon) = soon {
        // SAFETY: a hint, about memory that is there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(soon).cast()) };
    }
}

/// Other processors fetch it when it is needed.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn fetch<T>(_soon: Option<&T>) {}
