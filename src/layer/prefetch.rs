//! Memory that is about to be written, asked for before it is.
//!
//! A chunk that comes back from the exporter's thread is in that one's cache: the first write to each
//! of its lines would wait until the line is here, and every locked instruction waits for writes.

/// What processors load at once.
const LINE: usize = 64;

/// Has `LINES` lines from `at` on brought here, to be written.
#[inline]
#[allow(unsafe_code, reason = "the one stable prefetch of x86-64 is for reading only")]
pub(super) fn for_writing<const LINES: usize>(at: *const u8) {
    for line in 0..LINES {
        let _at = at.wrapping_add(line * LINE);
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a prefetch is a hint, without effect on what is in memory, whatever the address;
        // processors that do not know this one take it for a `nop`.
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) _at, options(nostack, preserves_flags, readonly));
        }
        #[cfg(all(target_arch = "aarch64", not(miri)))]
        // SAFETY: as above.
        unsafe {
            std::arch::asm!("prfm pstl1keep, [{}]", in(reg) _at, options(nostack, preserves_flags, readonly));
        }
    }
}
