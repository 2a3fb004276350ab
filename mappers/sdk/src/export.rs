//! The two functions that a mapper exports. What `wit-bindgen` generates owns and copies each text and frees all of it
//! again; here texts are handed over where they are, and nothing is ever freed, as the instance is gone after the call.
//! `docs/adr/0007-results-from-memory.md` has the reasons.
#![allow(unsafe_code)] // The host writes arguments into memory and passes their addresses.

use std::slice;

use crate::bindings;
use crate::contract::{
    Attached, Configuration, Limits, Object, Precision, Subject, Timestamp, Webhook,
};
use crate::layout::{self, Handed, Text};
use crate::mapper::Mapper;

/// Takes over a text that the host has written.
///
/// # Safety
/// It is one: UTF-8, in memory from the exported allocator, and nobody else's.
unsafe fn taken(pointer: usize, length: usize) -> String {
    // SAFETY: as this function demands it.
    unsafe { String::from_raw_parts(pointer as *mut u8, length, length) }
}

/// Exported as `configure`. The address of its result.
///
/// # Safety
/// The arguments are those of a call by the host.
pub unsafe fn configure<M: Mapper>(
    name: (usize, usize),
    text: (usize, usize),
    host_version: (usize, usize),
    features: (usize, usize),
    limits: [u32; 6],
) -> *const u8 {
    link();
    let [spans, attributes, events, links, text_bytes, output_bytes] = limits;
    // SAFETY: the host passes texts, and a list of them.
    let configuration = unsafe {
        Configuration {
            name: taken(name.0, name.1),
            text: taken(text.0, text.1),
            host_version: taken(host_version.0, host_version.1),
            features: slice::from_raw_parts(features.0 as *const Text, features.1)
                .iter()
                .map(|feature| taken(feature.pointer as usize, feature.length))
                .collect(),
            limits: Limits {
                spans,
                attributes_per_span: attributes,
                events_per_span: events,
                links_per_span: links,
                text_bytes,
                output_bytes,
            },
        }
    };
    layout::description(M::configure(&configuration))
}

/// Exported as `map-subject`. The address of its result. The parameters are those of an object, and a webhook shares them:
/// `second` is whether it is deleted and what is attached, or whether there is a GUID and which; `third` is how many
/// are omitted, or when it was received and how precisely that is known; `fourth` is the body of a webhook.
///
/// # Safety
/// The arguments are those of a call by the host.
pub unsafe fn map_subject<M: Mapper>(
    case: u32,
    watch: u32,
    first: (usize, usize),
    second: (u32, usize, usize),
    third: (u64, u32),
    fourth: (usize, usize),
) -> *const u8 {
    link();
    let (flag, pointer, length) = second;
    let (number, precision) = third;
    // SAFETY: the host passes an object or a webhook, flattened one over the other.
    let subject = unsafe {
        if case == 0 {
            Subject::Object(Object {
                watch,
                json: taken(first.0, first.1),
                deleted: flag != 0,
                attached: slice::from_raw_parts(pointer as *const Handed, length)
                    .iter()
                    .map(|handed| Attached {
                        attachment: handed.attachment,
                        json: taken(handed.json.pointer as usize, handed.json.length),
                    })
                    .collect(),
                omitted: number as u32,
            })
        } else {
            Subject::Webhook(Webhook {
                watch,
                kind: taken(first.0, first.1),
                guid: (flag != 0).then(|| taken(pointer, length)),
                received: Timestamp {
                    nanoseconds: number,
                    precision: match precision {
                        0 => Precision::Nanosecond,
                        1 => Precision::Microsecond,
                        2 => Precision::Millisecond,
                        _ => Precision::Second,
                    },
                },
                json: taken(fourth.0, fourth.1),
            })
        }
    };
    // What borrows from it is read after this function.
    let subject: &'static Subject = Box::leak(Box::new(subject));
    layout::mapped(M::map(subject))
}

/// Makes the linker keep what tells that this module is a mapper, and the allocator for what the host writes.
fn link() {
    bindings::__link_custom_section_describing_imports();
    wit_bindgen::rt::maybe_link_cabi_realloc();
}
