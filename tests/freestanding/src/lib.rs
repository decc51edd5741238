//! A static library of the pure crates with an allocator and a panic handler of its own.
//!
//! Were any of them, or of what they depend on, to use the standard library, its panic handler
//! would be there twice, and this would not build.
#![no_std]

use core::{
    alloc::{GlobalAlloc, Layout},
    panic::PanicInfo,
    ptr,
};

use quorate_cluster as _;
use quorate_proto as _;

struct NoMemory;

// SAFETY: it never hands out memory, which an allocator may always do.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    loop {}
}
