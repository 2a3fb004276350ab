//! How native code comes out of the process that has made it: a mark, its length, and the code, after which the stream ends. So what
//! is cut off, or anything else that is printed, is not taken for code.

use std::io::{self, Read, Write};

use thiserror::Error;

use super::NATIVE_BYTES;

const MARK: [u8; 8] = *b"native-1";
const LENGTH_BYTES: usize = 8;

/// What came is no native code.
#[derive(Debug, Error)]
pub enum FrameError {
    /// Something else, or nothing.
    #[error("it wrote something else than native code")]
    Other,
    /// More than is taken.
    #[error(
        "its native code has {0} bytes, and {NATIVE_BYTES} is the most: build a smaller module"
    )]
    TooLarge(u64),
    /// It ended too early or too late.
    #[error("it announced {announced} bytes and wrote {found}")]
    Length {
        /// Bytes that were to come.
        announced: u64,
        /// Bytes that came.
        found: u64,
    },
    /// It cannot be read.
    #[error("what it writes cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Writes native code.
pub fn write(to: &mut impl Write, native: &[u8]) -> io::Result<()> {
    to.write_all(&MARK)?;
    to.write_all(&(native.len() as u64).to_le_bytes())?;
    to.write_all(native)?;
    to.flush()
}

/// Reads native code to the end of the stream.
pub fn read(from: &mut impl Read) -> Result<Vec<u8>, FrameError> {
    let (mut mark, mut length) = ([0; MARK.len()], [0; LENGTH_BYTES]);
    for part in [&mut mark[..], &mut length[..]] {
        from.read_exact(part).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FrameError::Other,
            _ => FrameError::Unreadable(error),
        })?;
    }
    if mark != MARK {
        return Err(FrameError::Other);
    }
    let announced = u64::from_le_bytes(length);
    if announced > NATIVE_BYTES {
        return Err(FrameError::TooLarge(announced));
    }
    let mut native = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
    let found = from.take(announced + 1).read_to_end(&mut native)? as u64;
    if found == announced {
        Ok(native)
    } else {
        Err(FrameError::Length { announced, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_that_is_shorter_or_longer() {
        for native in [&b""[..], b"code", &[7; 5000]] {
            let mut written = Vec::new();
            write(&mut written, native).unwrap();
            assert_eq!(read(&mut &written[..]).unwrap(), native);
            for length in 0..written.len() {
                assert!(read(&mut &written[..length]).is_err(), "{length}");
            }
            written.push(0);
            assert!(matches!(
                read(&mut &written[..]),
                Err(FrameError::Length { .. })
            ));
        }
    }

    #[test]
    fn other_bytes_are_told_and_what_is_too_large_is_not_waited_for() {
        assert!(matches!(
            read(&mut &b"Usage: lighthouse-telemetry"[..]),
            Err(FrameError::Other)
        ));
        let header = [MARK, (NATIVE_BYTES + 1).to_le_bytes()].concat();
        let mut endless = header.chain(io::repeat(0));
        assert!(matches!(
            read(&mut endless),
            Err(FrameError::TooLarge(bytes)) if bytes == NATIVE_BYTES + 1
        ));
    }
}
