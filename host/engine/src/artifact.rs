//! Looks at a mapper's bytes before anything is compiled, so that a file that is no mapper is called by its
//! name.

use wasmparser::{Chunk, Encoding, Parser, Payload};

use crate::error::LoadError;
use crate::limits::Limits;

/// Bytes of a page of memory, where a memory says nothing else.
const PAGE: u64 = 1 << 16;

/// Refuses what starts with more than a sandbox has. What is not valid is left to the compiler.
pub fn check_size(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    let limit = |limit| u64::try_from(limit).unwrap_or(u64::MAX);
    let (memory, elements) = (limit(limits.memory_bytes), limit(limits.table_elements));
    let too_large = |what, wanted, limit| LoadError::TooLarge {
        what,
        wanted,
        limit,
    };
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::MemorySection(memories)) => {
                for found in memories.into_iter().flatten() {
                    let page = found
                        .page_size_log2
                        .map_or(PAGE, |size| 1_u64 << size.min(16));
                    let wanted = found.initial.saturating_mul(page);
                    if wanted > memory {
                        return Err(too_large("bytes of memory", wanted, memory));
                    }
                }
            }
            Ok(Payload::TableSection(tables)) => {
                for found in tables.into_iter().flatten() {
                    let wanted = found.ty.initial;
                    if wanted > elements {
                        return Err(too_large("elements of a table", wanted, elements));
                    }
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(())
}

/// Refuses what is not a whole component. Whether it is valid is the compiler's business.
pub fn check(bytes: &[u8]) -> Result<(), LoadError> {
    let truncated = || LoadError::Truncated {
        length: bytes.len(),
    };
    if bytes.is_empty() {
        return Err(truncated());
    }
    if !bytes.starts_with(b"\0asm") {
        let found = if b"\0asm".starts_with(bytes) {
            return Err(truncated());
        } else {
            "another kind of file"
        };
        return Err(LoadError::NotAComponent { found });
    }
    let mut parser = Parser::new(0);
    let mut rest = bytes;
    while !rest.is_empty() {
        // The parser is told that more may come: it then tells what is missing from what is wrong.
        let chunk = parser
            .parse(rest, false)
            .map_err(|error| LoadError::Invalid(error.to_string()))?;
        let Chunk::Parsed { consumed, payload } = chunk else {
            return Err(truncated());
        };
        let nested = match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } => {
                return Err(LoadError::NotAComponent {
                    found: "a core module",
                });
            }
            Payload::ModuleSection {
                unchecked_range, ..
            }
            | Payload::ComponentSection {
                unchecked_range, ..
            } => unchecked_range.end - unchecked_range.start,
            _ => 0,
        };
        rest = rest.get(consumed + nested..).ok_or_else(truncated)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> Vec<u8> {
        let text =
            "(component (core module (func)) (component (core module (func (export \"f\")))))";
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn a_component_is_told_from_other_files() {
        assert!(check(&component()).is_ok());
        let module = wat::parse_str("(module (func))").unwrap();
        assert!(matches!(
            check(&module),
            Err(LoadError::NotAComponent {
                found: "a core module"
            })
        ));
        assert!(matches!(
            check(b"<html>"),
            Err(LoadError::NotAComponent {
                found: "another kind of file"
            })
        ));
    }

    #[test]
    fn a_file_that_was_cut_off_is_not_called_invalid() {
        let component = component();
        // Between two sections nothing tells that more should follow.
        let mut whole = 0;
        for length in 0..component.len() {
            match check(&component[..length]) {
                Err(LoadError::Truncated { length: said }) => assert_eq!(said, length),
                Err(error) => panic!("{length}: {error}"),
                Ok(()) => whole += 1,
            }
        }
        assert!(whole < 6, "{whole} of {}", component.len());
    }
}
