//! Sizes as people write them.

/// A number of bytes: `1048576`, `512KiB`, `512MiB`, `2GiB`, and `Mi` for `MiB` as Kubernetes writes it.
///
/// # Errors
/// If the text is nothing of the kind.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let factor: u64 = match unit.trim().trim_end_matches('B') {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => {
            return Err("write a number with KiB, MiB or GiB behind it, such as 512MiB".to_owned());
        }
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "write a whole number, such as 512MiB".to_owned())?;
    number
        .checked_mul(factor)
        .ok_or("that is too much".to_owned())
}

/// Such a number that is not below another one.
///
/// # Errors
/// If it is, or the text is no such number.
pub fn size_from(least: u64, text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes < least {
        let least = least >> 20;
        return Err(format!("that is too little: {least}MiB is the least"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_and_kubernetes_write_them() {
        let least = 16 << 20;
        let size = |text| size_from(least, text);
        assert_eq!(size("16777216"), Ok(least));
        assert_eq!(size("16MiB"), Ok(least));
        assert_eq!(size("2Gi"), Ok(2 << 30));
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        for text in ["", "MiB", "1MB", "1.5GiB", "-1", "99999999999GiB", "1KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
